"""The guide "segmentation": its network, what the virtual camera teaches it, its weights file, and where thresholds fail."""

from dataclasses import replace

import exposure_scenes
import numpy as np
import pytest
import torch
from fakes import smooth_scene
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny_training import short_loop

from hdrcli import perception
from hdrcli.camera import Camera, CameraDistribution, measured_response, srgb_response
from hdrcli.errors import MissingModel, ModelError, UsageError
from hdrcli.networks import exposure_segmenter
from hdrcli.perception import exposure, segmentation
from hdrcli.training import export, loop, recipes
from hdrcli.training.datasets import collate, find_scenes, load_scenes
from hdrcli.training.objectives import create
from hdrcli.training.objectives import segmentation as system

CONFIG = system.Config(
    network=exposure_segmenter.Config(width=4), working_size=32, view_size=64, batch_size=4, learning_rate=1e-2
)


def network(width=4):
    torch.manual_seed(0)
    return exposure_segmenter.build(exposure_segmenter.Config(width=width))


def objective(**changes):
    torch.manual_seed(0)
    return system.build(replace(CONFIG, **changes))


def batch(made, seed=0):
    views = [{"hdr": smooth_scene(64, 64, seed + i)} for i in range(made.views_per_batch)]
    return collate([s for i, view in enumerate(views) for s in made.samples(view, np.random.default_rng(seed + i))])


class TestNetwork:
    @pytest.mark.parametrize(("height", "width"), [(5, 5), (33, 20), (64, 96)])
    def test_photos_of_any_size(self, height, width):
        with torch.no_grad():
            assert network()(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)

    def test_parameters_at_the_default_size(self):
        """Convolutions of 9 i o + o, the context 1x1, the last 1x1: under half a megabyte."""
        pairs = [(12, 12), (12, 12), (12, 24), (24, 24), (24, 48), (48, 48), (72, 24), (24, 24), (36, 12), (12, 12)]
        expected = sum(9 * i * o + o for i, o in pairs) + 48 * 48 + 48 + 12 * 3 + 3
        assert sum(p.numel() for p in network(12).parameters()) == expected == 70_023

    def test_gradients_reach_every_parameter(self):
        made = network()
        made(torch.rand(2, 3, 32, 32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in made.parameters())

    def test_flat_and_the_photos_largest_code_look_alike_at_any_white(self):
        """What the network is told beside the codes does not depend on where white lies."""
        codes = torch.rand(1, 3, 16, 16) * 0.5 + 0.3
        distances, ripple = exposure_segmenter._distances, exposure_segmenter._ripple
        for function in (distances, ripple):
            torch.testing.assert_close(function(codes), function(codes + 0.15), atol=1e-4, rtol=1e-4)
        assert ripple(torch.full((1, 3, 8, 8), 0.93)).max() == 0

    def test_an_overshoot_is_not_the_photos_largest_code(self):
        codes = torch.full((1, 3, 16, 16), 0.88)
        codes[..., 8:, :] = 0.3
        plain = exposure_segmenter._distances(codes)
        codes[..., 6, ::2] = 0.93  # as JPEG leaves along an edge
        distances = exposure_segmenter._distances(codes)
        assert torch.equal(distances[..., :6, :], plain[..., :6, :])
        assert distances[0, 0, 6, 0] < 0 == distances[0, 0, 0, 0]

    def test_a_single_code_shows_in_half_precision(self):
        codes = torch.full((1, 3, 8, 8), 1.0)
        codes[..., 4:] -= 1 / 255
        assert torch.unique(exposure_segmenter._distances(codes).bfloat16()).numel() == 2

    def test_a_width_that_no_network_has_is_refused(self):
        with pytest.raises(UsageError, match=r"network\.width"):
            exposure_segmenter.Config(width=1)


class TestTruth:
    camera = Camera(srgb_response(), read_noise=0.001)

    def test_clipped_is_what_the_sensor_lost_whatever_its_code(self):
        exposed = np.full((4, 4, 3), 0.3, np.float32)
        exposed[0, 0] = (0.5, 1.0, 0.5)
        exposed[1, 1] = 0.9999
        exposed[2, 2] = 0.0005
        exposed[3, 3] = (0.0005, 0.0005, 0.01)
        truth = system.truth_of(exposed, self.camera)
        assert truth[0, 0].tolist() == [1, 0, 0]
        assert truth[2, 2].tolist() == [0, 1, 0]
        assert truth[1, 1].tolist() == truth[3, 3].tolist() == [0, 0, 1]
        np.testing.assert_array_equal(truth.sum(axis=2), 1)

    def test_crushed_is_below_noise_or_the_first_code(self):
        exposed = np.full((1, 1, 3), 4e-4, np.float32)
        assert system.truth_of(exposed, replace(self.camera, read_noise=0.0))[0, 0, 1] == 1  # sRGB code 1.32
        assert system.truth_of(exposed * 2, replace(self.camera, read_noise=0.0))[0, 0, 1] == 0
        assert system.truth_of(exposed * 2, self.camera)[0, 0, 1] == 1

    @given(st.floats(0, 0.2), st.floats(0.6, 1))
    def test_washing_out_keeps_the_order_of_codes(self, black, white):
        codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
        out = system.washed(codes, black, white).astype(int).ravel()
        assert (np.diff(out) >= 0).all()
        assert out[0] == np.rint(black * 255)
        assert abs(out[-1] - white * 255) <= 0.5

    def test_white_surfaces_are_not_lost_but_for_some(self):
        room = np.full((48, 48, 3), 0.2, np.float32)
        drawn = [system.white_surfaces(room, np.random.default_rng(seed)) for seed in range(30)]
        changed = np.concatenate([image[(image != room).all(axis=2)] for image in drawn])
        assert ((changed > 0.5) & (changed < 1)).mean() > 0.4
        assert (changed >= 1).any()
        assert all(image.dtype == np.float32 for image in drawn)

    def test_a_washed_out_photo_still_says_what_clipped(self):
        config = replace(CONFIG, whites=0.0, washed_out=1.0, camera=CameraDistribution(p_no_jpeg=1.0, shares=(0.2, 0.2)))
        codes, truth = system.photograph(smooth_scene(64, 64), config, np.random.default_rng(0))
        assert 0.1 < truth[..., 0].mean() < 0.4
        assert codes.max() < 255
        assert codes[truth[..., 0] > 0].max(axis=1).min() >= codes.max() - 8

    def test_samples_are_shares_that_follow_from_the_seed(self):
        made = objective()
        view = {"hdr": smooth_scene(64, 64)}
        for seed in range(6):
            (sample,), (again,) = (made.samples(view, np.random.default_rng(seed)) for _ in range(2))
            for name, value in sample.items():
                assert (value.shape, value.dtype) == ((32, 32, 3), np.float32)
                np.testing.assert_array_equal(value, again[name])
            np.testing.assert_allclose(sample["truth"].sum(axis=2), 1, atol=1e-5)


class TestTraining:
    def test_it_learns_what_is_clipped(self):
        made = objective(camera=CameraDistribution(shares=(0.1, 0.3), mean_share=0.3), whites=0.0, washed_out=0.0)
        shown, (optimizer,) = batch(made), made.optimizers().values()
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            terms = made.loss("g", shown, 0)
            terms["loss"].backward()
            optimizer.step()
            losses.append({name: float(value.detach()) for name, value in terms.items()})
        assert losses[-1]["loss"] < 0.5 * losses[0]["loss"]
        assert losses[-1]["iou_over"] > 0.5

    def test_the_loss_of_a_right_answer_is_none(self):
        made = objective()
        shown = batch(made)
        shown["truth"] = torch.nn.functional.one_hot(shown["truth"].argmax(1), 3).permute(0, 3, 1, 2).float()
        made.networks["segmentation"] = torch.nn.Identity()
        terms = made.loss("g", {"ldr": 50 * shown["truth"], "truth": shown["truth"]}, 0)
        assert terms["loss"] < 1e-4
        assert terms["iou_over"] in (0, 1)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"working_size": "8"}, "working_size: 8 is below 16"),
            ({"working_size": "640"}, "more than view_size 320"),
            ({"whites": "2"}, "whites: 2 is no share"),
            ({"learning_rate": "0"}, "learning_rate: 0 is not above 0"),
            ({"iou_weight": "-1"}, "iou_weight: -1 is negative"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            create("segmentation", options, 1)

    def test_the_recipe_fits(self):
        recipe = recipes.load("segmentation")
        assert (recipe.objective, recipe.loop.minutes) == ("segmentation", 5)


@pytest.fixture(scope="module")
def run(tmp_path_factory, hdr_folder):
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("run")
    loop.train(objective(), load_scenes(find_scenes([hdr_folder]).files), short_loop(2), folder)
    export.write_weights(folder)
    return folder


class TestGuide:
    def test_a_runs_weights_are_what_the_guide_takes(self, run):
        for weights in (run, run / segmentation.FILE):
            guide = perception.create("maps", "segmentation", {"weights": str(weights)})
            assert guide.network.config.width == 4
            assert not any(p.requires_grad for p in guide.network.parameters())
        state = torch.load(run / "checkpoint.pt", weights_only=True)["ema"]
        for name, value in guide.network.state_dict().items():
            torch.testing.assert_close(value, state[f"segmentation.{name}"])

    def test_such_a_run_makes_no_bundle(self, run, tmp_path):
        with pytest.raises(MissingModel, match="trained no generator"):
            export.write_bundle(run, tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()

    def test_maps_are_the_networks_classes_and_exposures_artifacts(self):
        guide = segmentation.SegmentationMaps(network())
        codes = torch.rand(2, 3, 24, 32, requires_grad=True)
        classes, maps = guide.classes(codes), guide.maps(codes)
        torch.testing.assert_close(classes.sum(1), torch.ones(2, 24, 32))
        assert torch.equal(maps.over, classes[:, :1])
        assert torch.equal(maps.under, classes[:, 1:2])
        assert torch.equal(maps.artifact, exposure.build(exposure.Config()).artifact(codes))
        assert maps.artifact.requires_grad
        assert not maps.over.requires_grad

    def test_outputs_are_left_to_exposure(self):
        guide = segmentation.SegmentationMaps(network())
        made, source = torch.rand(2, 1, 3, 24, 32)
        expected = exposure.build(exposure.Config()).maps(made, source=source).stacked()
        torch.testing.assert_close(guide.maps(made, source=source).stacked(), expected)

    def test_absent_weights_are_named(self, monkeypatch, tmp_path):
        monkeypatch.setattr(segmentation, "FILE", "absent.safetensors")
        with pytest.raises(MissingModel, match=r"no weights of the segmenter.*hdrcli train --recipe segmentation"):
            perception.create("maps", "segmentation")
        with pytest.raises(MissingModel, match="nowhere"):
            segmentation.load(tmp_path / "nowhere")

    @pytest.mark.parametrize("content", [b"", b"nothing", None], ids=["empty", "text", "other network"])
    def test_foreign_files_are_named(self, content, tmp_path):
        file = tmp_path / "mine.safetensors"
        if content is None:
            save_file({"a": torch.zeros(3)}, file, {"hdrcli": '{"network": {"width": 4}}'})
        else:
            file.write_bytes(content)
        with pytest.raises(ModelError, match="holds no segmenter"):
            segmentation.load(file)


class TestScenes:
    """That the rendered photos are what they are said to be."""

    @pytest.mark.parametrize("kind", exposure_scenes.KINDS)
    @pytest.mark.parametrize("washed_out", [False, True])
    def test_thresholds_see_white_that_is_not_lost_and_miss_what_is(self, kind, washed_out):
        shown = [exposure_scenes.photo(kind, seed, washed_out=washed_out, size=64) for seed in range(5)]
        clipped = [c for _, c in shown]
        said = [codes.max(axis=2) >= 0.94 * 255 for codes, _ in shown]
        if washed_out:
            assert exposure_scenes.iou(said, clipped) < 0.2
        elif kind == "sky":
            assert exposure_scenes.iou(said, clipped) > 0.4
        else:
            assert exposure_scenes.iou(said, clipped) < 0.6

    def test_iou(self):
        a, b = np.array([[True, True, False]]), np.array([[True, False, False]])
        assert exposure_scenes.iou([a, a], [b, a]) == 3 / 4
        assert exposure_scenes.iou([~a & a], [~a & a]) == 1

    def test_measured_cameras_clip_at_the_largest_code(self):
        camera = Camera(measured_response(50))
        assert camera.shoot(np.full((2, 2, 3), 1.0, np.float32), np.random.default_rng(0)).min() == 255


def test_the_weights_that_come_along_beat_every_threshold_where_white_is_not_clipped():
    """Walls, snow, paper and sky, plain and washed out: 24 rendered photos, none of them of the training scenes."""
    shown = list(exposure_scenes.photos(3))
    right = [where for *_, where in shown]
    guide = segmentation.SegmentationMaps(segmentation.load())
    said = []
    for _, _, codes, _ in shown:
        image = torch.from_numpy(codes.astype(np.float32) / 255).permute(2, 0, 1)[None]
        said.append(guide.classes(image).argmax(1)[0].numpy() == 0)
    thresholds = [[codes.max(axis=2) >= t * 255 for _, _, codes, _ in shown] for t in (0.9, 0.94, 0.97, 0.99)]
    best = max(exposure_scenes.iou(answers, right) for answers in thresholds)
    assert exposure_scenes.iou(said, right) > best + 0.1
