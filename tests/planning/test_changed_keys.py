"""Keys of a spec that a command line sets anew: what is read, what is refused, and what a message then points at."""

from __future__ import annotations

import pytest

from rayci.errors import RequestError
from rayci.planning import spec as specs
from rayci.planning.changed_keys import changed
from rayci.planning.yaml_source import parse

TEXT = """\
model: testbed
replicates: 2
interventions:
  ft: {}
  rtn: {bits: {sweep: [4, 8]}}
criteria: [edit_success]
"""
SOURCE = parse(TEXT, "some.yaml")


def test_keys_are_set_at_any_depth_and_the_file_stays_as_it_was() -> None:
    texts = ["replicates=5", "interventions.rtn.bits.sweep=[2, 3]", "data.edits=counterfact", "model=owner/name@v1"]
    values = changed(SOURCE, texts).values
    assert values["replicates"] == 5
    assert values["interventions"] == {"ft": {}, "rtn": {"bits": {"sweep": [2, 3]}}}
    assert values["data"] == {"edits": "counterfact"}
    assert values["model"] == "owner/name@v1"
    assert SOURCE.values == parse(TEXT, "some.yaml").values


def test_what_is_said_last_counts() -> None:
    source = changed(SOURCE, ["interventions.rtn={}", "interventions.rtn.bits=3", "replicates=3", "replicates=4"])
    assert source.values["interventions"]["rtn"] == {"bits": 3}
    assert specs.from_source(source).replicates == 4


@pytest.mark.parametrize(
    "text", ["replicates", "=3", "data..edits=zsre", "criteria=[", "model=!!python/name:os.system"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="cannot read"):
        changed(SOURCE, [text])


def test_a_key_inside_of_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(RequestError, match=r"model is no mapping\n  at: --set model\.name=x"):
        changed(SOURCE, ["model.name=x"])


def test_messages_point_at_the_option_and_at_the_file_for_the_rest() -> None:
    with pytest.raises(RequestError, match=r"at: --set replicates=0"):
        specs.from_source(changed(SOURCE, ["replicates=0"]))
    with pytest.raises(RequestError, match=r"unknown key 'replicate'\n  at: --set replicate=3"):
        specs.from_source(changed(SOURCE, ["replicate=3"]))
    bad = parse(TEXT.replace("edit_success", "edit_sucess"), "some.yaml")
    with pytest.raises(RequestError, match=r"at: some\.yaml:6"):
        specs.from_source(changed(bad, ["replicates=3"]))
