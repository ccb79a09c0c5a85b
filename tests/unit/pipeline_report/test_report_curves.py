"""Curves tell what happened once, also when a stage was killed, went on, or was done again."""

from hanlin.pipeline.report.card import Curve, Series
from hanlin.pipeline.report.charts import curve_chart, sparkline
from hanlin.pipeline.report.curves import MAX_POINTS, curves, downsample
from hanlin.pipeline.report.svg import fit, tick_label, ticks


def metric(step, loss, stage="pretrain", **more):
    return {"event": "metric", "stage": stage, "step": step, "loss": loss, **more}


def event(name, stage="pretrain"):
    return {"event": name, "stage": stage}


def points(events):
    (curve,) = curves(events)
    return curve.series[0].points


def test_a_resumed_stage_replaces_what_it_repeats():
    log = [event("stage_started"), metric(1, 5.0), metric(2, 4.0), metric(3, 3.0)]
    log += [event("stage_started"), metric(2, 4.5)]
    assert points(log) == ((1.0, 5.0), (2.0, 4.5))
    assert points([*log, metric(3, 3.5)]) == ((1.0, 5.0), (2.0, 4.5), (3.0, 3.5))


def test_a_stage_done_again_starts_anew():
    log = [metric(1, 5.0), metric(2, 4.0), event("stage_finished"), event("stage_started")]
    assert curves(log) == ()
    assert points([*log, metric(1, 2.0)]) == ((1.0, 2.0),)


def test_a_stage_from_the_cache_has_no_curve_of_ours():
    assert curves([metric(1, 5.0), event("stage_cached")]) == ()


def test_metrics_without_a_loss_are_no_curve():
    log = [{"event": "metric", "stage": "export", "type": "f16"}, metric(1, None), metric("2", 1.0)]
    log += [metric(True, 1.0), {"event": "metric", "step": 1, "loss": 1.0}]
    assert curves(log) == ()


def test_tokens_and_speed():
    log = [metric(i, 1.0, tokens=100 * i, tokens_per_s=float(i)) for i in (1, 2, 9)]
    (curve,) = curves(log)
    assert (curve.steps, curve.tokens, curve.tokens_per_s) == (9, 900, 2.0)


def test_bits_per_byte_has_a_line_for_each_language():
    log = [
        {"event": "probe", "stage": "pretrain", "step": step, "language": language,
         "bits_per_byte": 3.0 - step}
        for step in (0, 1) for language in ("zh", "en")
    ]  # fmt: skip
    (curve,) = curves(log)
    assert curve.quantity == "bits_per_byte"
    assert [series.label for series in curve.series] == ["zh", "en"]
    assert curve.series[1].points == ((0, 3.0), (1, 2.0))


def test_long_curves_are_means_of_buckets():
    few, size = downsample([(float(i), float(i)) for i in range(1001)])
    assert size == 3 and len(few) <= MAX_POINTS
    assert few[0] == (2.0, 1.0) and few[-1][0] == 1000.0
    assert downsample([(1.0, 2.0)]) == (((1.0, 2.0),), 1)


def test_a_long_log_is_read_once_through():
    (curve,) = curves(metric(step, 1.0) for step in range(20_000))
    assert len(curve.series[0].points) <= MAX_POINTS and curve.steps_per_point == 50


def test_charts_of_one_point_and_of_a_flat_line():
    for series in ([(5.0, 2.0)], [(1.0, 0.0), (2.0, 0.0)]):
        curve = Curve("s", "loss", (Series("loss", tuple(series)),), steps=2)
        text = curve_chart(curve, {})
        assert "nan" not in text and "<circle" in text


def test_ticks_are_round_and_cover_the_range():
    assert ticks(0, 1, count=6) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.31, 6.2)[0] <= 0.31 and ticks(0.31, 6.2)[-1] >= 6.2
    assert len(ticks(2.0, 2.0)) >= 2 and len(ticks(0.0, 0.0)) >= 2


def test_tick_labels():
    assert [tick_label(v, [0.0, 0.5, 1.0]) for v in (0.0, 0.5, 1.0)] == ["0.0", "0.5", "1.0"]
    assert [tick_label(v, [0, 2000, 4000]) for v in (0, 2000, 4000)] == ["0", "2k", "4k"]
    assert tick_label(0.05, [0.0, 0.05, 0.1]) == "0.05"


def test_labels_are_cut_to_their_room():
    assert fit("short", 200) == "short"
    assert fit("四十个选项的中文问题" * 9, 100).endswith("…")
    assert len(fit("四" * 50, 110)) <= 11


def test_sparklines():
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([1.0] * 100) == "▁" * 34
