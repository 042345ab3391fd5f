"""The picture asks what the dashboard asks, with its variables filled in."""

from __future__ import annotations

from benchmarks.dashboard_plot import expression, panels


def test_every_query_is_whole_once_its_variables_are_filled_in() -> None:
    asked = [expression(target) for panel in panels() for target in panel["targets"]]
    assert len(asked) > len(panels())
    assert not [query for query in asked if "$" in query]


def test_a_query_is_asked_as_grafana_asks_it_when_everything_is_chosen() -> None:
    target = {"expr": 'sum by (code) (rate(dsm_stt_warnings_total{model=~"$model"}[$__rate_interval]))'}
    assert expression(target) == 'sum by (code) (rate(dsm_stt_warnings_total{model=~".*"}[8s]))'
