"""Fingerprints: one digest for the same parts, differences in words, and nothing concluded from what is not known."""

import contextlib
import json
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.operations.qualification.fingerprint import (
    Fingerprint,
    FingerprintError,
    GpuPart,
    HcaPart,
    Kind,
    differences,
    read_fingerprint,
)

GPUS = tuple(
    GpuPart(f"0000:{bus}:00.0", f"GPU-{bus}", f"16529{bus}", "96.00.74.00.01", "") for bus in ("1b", "43", "52")
)
NODE = Fingerprint(
    kernel="6.8.0-52-generic",
    driver="570.86.15",
    module_flavour="open",
    fabric_manager="570.86.15",
    cuda="12.8.0",
    nccl="2.25.1",
    ofed="MLNX_OFED_LINUX-24.10-1.1.4.0",
    bios="AMI 2.1 11/05/2025",
    dcgm="4.6.0",
    hcas=(HcaPart("mlx5_0", "28.43.1014"), HcaPart("mlx5_1", "28.43.1014")),
    gpus=GPUS,
)
words = st.none() | st.text(max_size=4)
gpu_parts = st.builds(GpuPart, st.text(min_size=1, max_size=3), words, words, words, words)
hca_parts = st.builds(HcaPart, st.text(min_size=1, max_size=3), words)
fingerprints = st.builds(
    Fingerprint,
    *([words] * 9),
    hcas=st.none() | st.lists(hca_parts, max_size=3, unique_by=lambda one: one.device).map(tuple),
    gpus=st.none() | st.lists(gpu_parts, max_size=3, unique_by=lambda one: one.slot).map(tuple),
)


def told(before: Fingerprint, now: Fingerprint) -> list[tuple[Kind, str]]:
    return [(one.kind, one.words) for one in differences(before, now)]


def test_the_order_in_which_parts_are_told_does_not_matter() -> None:
    digests = {replace(NODE, gpus=order, hcas=NODE.hcas[::-1]).digest for order in permutations(GPUS)}  # type: ignore[index]
    assert digests == {NODE.digest}
    assert len(NODE.digest) == 64


@given(fingerprints, fingerprints)
def test_fingerprints_have_one_digest_where_nothing_differs_and_else_two(one: Fingerprint, other: Fingerprint) -> None:
    assert (one.digest == other.digest) == (not differences(one, other))
    assert differences(one, one) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"driver": "580.95.05"}, "NVIDIA driver was upgraded from 570.86.15 to 580.95.05"),
        ({"driver": "570.86.10"}, "NVIDIA driver was downgraded from 570.86.15 to 570.86.10"),
        ({"module_flavour": "proprietary"}, "flavour of NVIDIA's kernel module changed from open to proprietary"),
        ({"kernel": "6.8.0-60-generic"}, "kernel was upgraded from 6.8.0-52-generic to 6.8.0-60-generic"),
        ({"bios": "AMI 2.1 11/05/2025b"}, "BIOS changed from AMI 2.1 11/05/2025 to AMI 2.1 11/05/2025b"),
        ({"fabric_manager": ""}, "fabric manager was taken away: 570.86.15"),
        ({"hcas": NODE.hcas[:1]}, "InfiniBand device mlx5_1 is gone"),  # type: ignore[index]
        ({"hcas": (*NODE.hcas, HcaPart("mlx5_9"))}, "InfiniBand device mlx5_9 is new"),  # type: ignore[misc]
        (
            {"hcas": (NODE.hcas[0], HcaPart("mlx5_1", "28.44.1036"))},  # type: ignore[index]
            "firmware of mlx5_1 was upgraded from 28.43.1014 to 28.44.1036",
        ),
        ({"gpus": GPUS[:2]}, "slot 0000:52:00.0 had serial 1652952 GPU-52, and has no GPU now"),
        (
            {"gpus": (*GPUS[:2], replace(GPUS[2], uuid="GPU-new", serial="99"))},
            "the GPU in slot 0000:52:00.0 was replaced: serial 1652952 GPU-52 by serial 99 GPU-new",
        ),
        (
            {"gpus": (*GPUS[:2], replace(GPUS[2], vbios="96.00.89.00.01"))},
            "VBIOS of the GPU in slot 0000:52:00.0 was upgraded from 96.00.74.00.01 to 96.00.89.00.01",
        ),
        (
            {"gpus": (*GPUS[:2], replace(GPUS[2], mig="3g.40gb 3g.40gb"))},
            "MIG of the GPU in slot 0000:52:00.0 was added: 3g.40gb 3g.40gb",
        ),
    ],
)
def test_a_change_is_told_in_words(change: dict[str, object], sentence: str) -> None:
    assert told(NODE, replace(NODE, **change)) == [(Kind.CHANGED, sentence)]  # type: ignore[arg-type]


def test_gpus_that_changed_places_are_told_from_new_ones() -> None:
    swapped = (replace(GPUS[1], slot=GPUS[0].slot), replace(GPUS[0], slot=GPUS[1].slot), GPUS[2])
    assert told(NODE, replace(NODE, gpus=swapped)) == [
        (Kind.CHANGED, "slot 0000:1b:00.0 has serial 1652943 GPU-43, which was in slot 0000:43:00.0 before"),
        (Kind.CHANGED, "slot 0000:43:00.0 has serial 165291b GPU-1b, which was in slot 0000:1b:00.0 before"),
    ]


def test_what_cannot_be_read_any_more_is_no_change_and_is_told() -> None:
    assert told(NODE, replace(NODE, dcgm=None, gpus=None)) == [
        (Kind.BECAME_UNKNOWN, "DCGM was 4.6.0, and cannot be read now"),
        (Kind.BECAME_UNKNOWN, "GPUs cannot be read now"),
    ]
    assert told(replace(NODE, nccl=None, hcas=None), NODE) == [
        (Kind.BECAME_KNOWN, "NCCL could not be read before, and is 2.25.1"),
        (Kind.BECAME_KNOWN, "InfiniBand devices could not be read before"),
    ]
    nameless = replace(NODE, gpus=(replace(GPUS[0], uuid=None, serial=None), *GPUS[1:]))
    assert {kind for kind, _ in told(NODE, nameless)} == {Kind.BECAME_UNKNOWN}
    assert replace(NODE, gpus=None).digest != replace(NODE, gpus=()).digest
    assert replace(NODE, dcgm=None).unknown == ("dcgm",)


def as_json(fingerprint: Fingerprint) -> dict[str, object]:
    return {
        **{name: getattr(fingerprint, name) for name in Fingerprint.__slots__ if name not in ("hcas", "gpus")},
        "hcas": [{"device": one.device, "firmware": one.firmware} for one in fingerprint.hcas or ()],
        "gpus": [{name: getattr(one, name) for name in GpuPart.__slots__} for one in fingerprint.gpus or ()],
    }


def test_what_a_node_tells_is_read_also_from_another_version() -> None:
    document = as_json(NODE)
    assert read_fingerprint(json.dumps(document)) == NODE
    assert read_fingerprint(json.dumps(document | {"firmware_of_the_coffee_machine": "1.2"})) == NODE
    assert read_fingerprint("{}") == Fingerprint()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no object"),
        ('{"kernel": 6}', "must be a word, or null"),
        ('{"kernel": "6\\u001b[2J"}', "must be a word, or null"),
        (json.dumps({"kernel": "6" * 201}), "must be a word, or null"),
        ('{"gpus": {}}', "must be a list"),
        ('{"gpus": ["GPU-1"]}', "is no object"),
        ('{"gpus": [{"uuid": "GPU-1"}]}', "has no slot"),
        ('{"hcas": [{"device": "a"}, {"device": "a"}]}', "device a twice"),
        (json.dumps({"gpus": [{"slot": str(at)} for at in range(257)]}), "at most 256"),
    ],
)
def test_what_is_no_fingerprint_is_refused(text: str, why: str) -> None:
    with pytest.raises(FingerprintError, match=why):
        read_fingerprint(text)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(FingerprintError):
        assert read_fingerprint(text) == Fingerprint()
