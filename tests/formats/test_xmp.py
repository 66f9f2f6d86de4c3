"""XMP: full panoramas, and what is not one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdrcli.formats._xmp import is_panorama


def attributes(**values):
    inside = " ".join(f'GPano:{name}="{value}"' for name, value in values.items())
    return (
        f'<x:xmpmeta><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {inside}/></x:xmpmeta>'.encode()
    )


def elements(**values):
    inside = "".join(f"<GPano:{name}>{value}</GPano:{name}>" for name, value in values.items())
    return f"<x:xmpmeta><rdf:Description>\n{inside}\n</rdf:Description></x:xmpmeta>".encode()


WHOLE = {
    "ProjectionType": "equirectangular",
    "CroppedAreaImageWidthPixels": 8192,
    "CroppedAreaImageHeightPixels": 4096,
    "FullPanoWidthPixels": 8192,
    "FullPanoHeightPixels": 4096,
}


@pytest.mark.parametrize("packet", [attributes, elements])
def test_whole_spheres(packet):
    assert is_panorama(packet(**WHOLE))
    assert is_panorama(packet(ProjectionType="equirectangular"))
    assert is_panorama(packet(**WHOLE).replace(b'"', b"'").replace(b"=", b" = "))


@pytest.mark.parametrize("packet", [attributes, elements])
@pytest.mark.parametrize(
    "change", [{"ProjectionType": "cylindrical"}, {"FullPanoWidthPixels": 9000}, {"CroppedAreaImageHeightPixels": 2000}]
)
def test_parts_and_other_projections(packet, change):
    assert not is_panorama(packet(**WHOLE | change))


def test_no_panorama():
    assert not is_panorama(b"")
    assert not is_panorama(attributes(UsePanoramaViewer="True"))
    assert not is_panorama(b"<dc:title>equirectangular</dc:title>")


@given(st.binary(max_size=200), st.integers(0, 300))
def test_garbage_never_raises(garbage, position):
    packet = attributes(**WHOLE)
    is_panorama(garbage)
    is_panorama(packet[:position] + garbage + packet[position:])
