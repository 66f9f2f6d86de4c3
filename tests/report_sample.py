"""A small evaluation with everything that a report has to cope with, and pictures whose values are known."""

import numpy as np

from hdrcli.evaluation import results
from hdrcli.evaluation.html import Pictures
from hdrcli.evaluation.protocols import Missing

HEIGHT, WIDTH = 40, 60
WHITE = 100.0
NASTY = "<script>window.hacked=1</script>\"'&\u202e\ud800\n"  # a name that a file may well have
METHODS = ("bright", "dark", NASTY)
IMAGES = ("lamp", "night", NASTY + "2", "far")
GAIN = {"bright": 2.0, "dark": 0.25, NASTY: 1.0}
SCORES = (
    results.ScoreInfo("psnr", "peak signal to noise", "dB", "higher", "a standard"),
    results.ScoreInfo("rmse", "error in stops", "stops", "lower", "a paper"),
    results.ScoreInfo("share", "clipped share", "", "neither", ""),
)
LINES = {"raw": "hdrcli 1.0; raw; align=none; peak=256", "sihdr": "hdrcli 1.0; sihdr; align=crf; peak=256"}
WHY = "no weights <of> this & that"
ERROR = "is truncated (copy it again)"


def value(protocol, method, image, score):
    """Some number, different everywhere."""
    place = 3 * METHODS.index(method) + 10 * IMAGES.index(image) + 100 * (protocol == "sihdr")
    return {"psnr": 20.0 + place, "rmse": 1.0 / (1 + place), "share": 0.5}[score]


def rows():
    """The last method has no second image; of the others' first image one number is infinite, one there is not."""
    out = []
    for protocol in LINES:
        for image in IMAGES:
            for method in METHODS:
                if (method, image) == (NASTY, "night"):
                    continue
                scores = {s.name: value(protocol, method, image, s.name) for s in SCORES}
                if (method, image) == ("bright", "lamp"):
                    scores["psnr"] = float("inf")
                if (method, image) == ("dark", "lamp"):
                    scores["psnr"] = Missing(WHY)
                out.append(results.Row(protocol, method, image, scores, {"scale": 1.0}))
    return tuple(out)


def aggregate(protocol, method, score, region=None):
    values = [r.scores[score] for r in rows() if (r.protocol, r.method) == (protocol, method)]
    finite = [v for v in values if not isinstance(v, Missing) and np.isfinite(v)]
    missing = {v.why: 1 for v in values if isinstance(v, Missing)} | ({ERROR: 1} if method == NASTY else {})
    infinite = sum(v == float("inf") for v in values)
    mean = float(np.mean(finite)) + {None: 0, "clipped": 1, "mid": 2}[region]
    low, high, worst = mean - 0.5, mean + 0.5, (("lamp", finite[0]),)
    return results.Aggregate(
        protocol, method, score, region, len(finite), infinite, missing, mean, float(np.median(finite)), low, high, worst
    )


def evaluation():
    sha = "0123456789abcdef" * 4
    images = tuple(results.EvaluatedImage(n, results.File(f"truth/{n}.exr", sha), WIDTH, HEIGHT) for n in IMAGES)
    entries = tuple(
        results.Entry(m, n, results.File(f"{m}/{n}.hdr", sha), ERROR if (m, n) == (NASTY, "night") else None, ("all is well",))
        for n in IMAGES
        for m in METHODS
    )
    protocols = tuple(
        results.Protocol(name, f"about {name}", "a source", {"align": "none"}, line, SCORES) for name, line in LINES.items()
    )
    aggregates = [aggregate(p, m, s.name) for p in LINES for m in METHODS for s in SCORES]
    parts = [("mid", "rmse"), ("mid", "psnr"), ("clipped", "psnr"), ("clipped", "rmse")]
    aggregates += [aggregate(p, m, score, region) for p in LINES for m in METHODS for region, score in parts]
    regions = tuple(results.RegionRow("raw", "bright", "lamp", r, 0.25, {"rmse": 0.125}) for r in ("clipped", "mid"))
    significance = (
        results.Significance("raw", "rmse", "bright", NASTY, 6, 0.1, 0.5, 0.75, "Wilcoxon signed-rank, exact"),
        results.Significance("raw", "rmse", "dark", NASTY, 3, 0.1, 0.001, 0.003, "Wilcoxon signed-rank, exact"),
        results.Significance("raw", "psnr", "bright", "dark", 1, None, None, None, "Wilcoxon signed-rank, exact"),
    )
    rankings = (results.Ranking("raw", "psnr", (NASTY, "dark", "bright")), results.Ranking("sihdr", "psnr", ("dark", "bright")))
    return results.Evaluation(
        settings=results.Settings(protocols=tuple(LINES), metrics=("psnr",)),
        methods=tuple(results.Method(m, f"results/{m}") for m in METHODS),
        images=images,
        entries=entries,
        protocols=protocols,
        scores=rows(),
        regions=regions,
        aggregates=tuple(aggregates),
        significance=significance,
        rankings=rankings,
        versions={"hdrcli": "1.0", "numpy": "2.0"},
        notes=(f"one file of {NASTY} has no partner",),
    )


def light(seed=0):
    """``(HEIGHT, WIDTH, 3) float32``: from 2^-12 to 2^9 of WHITE across, a little colour, a little noise."""
    rng = np.random.default_rng(seed)
    stops = np.linspace(-12, 9, WIDTH)[None, :, None] + np.array([0.3, 0.0, -0.4]) + rng.normal(0, 0.05, (HEIGHT, WIDTH, 1))
    return (WHITE * 2.0**stops).astype(np.float32)


def pictures(protocol="raw"):
    """Of all images but the last; the second one's middle pixel is not a number in one prediction."""
    for seed, image in enumerate(IMAGES[:-1]):
        reference = light(seed)
        tests = {m: reference * np.float32(g) for m, g in GAIN.items() if (m, image) != (NASTY, "night")}
        if image == "night":
            tests["dark"][HEIGHT // 2, WIDTH // 2, 1] = np.nan
        photo = np.rint(255 * np.clip(reference / WHITE, 0, 1) ** (1 / 2.2)).astype(np.uint8)
        clipped = reference[..., 1] >= WHITE
        yield Pictures(image, reference, tests, photo, {"clipped": clipped, "mid": ~clipped}, WHITE, protocol=protocol)
