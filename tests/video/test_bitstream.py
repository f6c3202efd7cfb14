"""Damage and picture types from the bytes of packets, which are written by hand."""

import pytest

from jadfer_cli.video.bitstream import PacketInspector

AVCC = bytes([1, 0x64, 0, 0x0A, 0xFF, 0xE1, 0])  # length prefixes of (0xFF & 3) + 1 = 4 bytes
HVCC = bytes([1]) + bytes(20) + b"\xff" + bytes(3)


def nal(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_an_intact_h264_slice_is_a_picture_and_says_if_it_is_a_reference() -> None:
    inspector = PacketInspector("h264", AVCC)
    reference = inspector.inspect(nal(b"\x06sei") + nal(b"\x65\x88\x84\x01"))  # ref_idc 3, IDR
    assert reference.picture and reference.reference and not reference.damaged
    disposable = inspector.inspect(nal(b"\x01\x88\x84\x01"))  # ref_idc 0, slice
    assert disposable.picture and not disposable.reference


@pytest.mark.parametrize("body", [b"\x00\x00\x00", b"\x00\x00\x01", b"\x00\x00\x02"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_forbidden_bytes_inside_a_slice_are_damage(codec: str, body: bytes) -> None:
    head = b"\x41\x88" if codec == "h264" else b"\x02\x01"
    inspector = PacketInspector(codec, AVCC if codec == "h264" else HVCC)
    assert inspector.inspect(nal(head + body + b"\x55")).damaged
    assert not inspector.inspect(nal(head + b"\x00\x00\x03" + b"\x55")).damaged


def test_lengths_that_do_not_add_up_to_the_packet_are_damage() -> None:
    inspector = PacketInspector("h264", AVCC)
    assert inspector.inspect(nal(b"\x41\x88\x55")[:-1]).damaged
    assert inspector.inspect(bytes(40)).damaged


def test_a_few_trailing_zeros_are_tolerated_but_not_many() -> None:
    inspector = PacketInspector("h264", AVCC)
    assert not inspector.inspect(nal(b"\x41\x88\x55\x00\x00")).damaged
    assert inspector.inspect(nal(b"\x41\x88\x55" + bytes(64))).damaged


def test_a_packet_without_a_slice_contains_no_picture() -> None:
    facts = PacketInspector("h264", AVCC).inspect(nal(b"\x0c\xff\x80"))  # filler data
    assert not facts.picture and not facts.damaged
    assert not PacketInspector("h264", AVCC).inspect(b"").picture
    assert not PacketInspector("mpeg4", None).inspect(b"\x00\x00\x01\xb6" + b"\x50\x7f").picture


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1", "mpeg4"])
def test_a_run_of_zeros_is_damage_if_the_payload_is_entropy_coded(codec: str) -> None:
    inspector = PacketInspector(codec, None)
    assert inspector.inspect(b"\x92" * 40 + bytes(64) + b"\x11").damaged
    assert not inspector.inspect(b"\x92" * 40 + bytes(63) + b"\x11").damaged
    assert not PacketInspector("ffv1", None).inspect(b"\x92" + bytes(500) + b"\x11").damaged


def test_hidden_reference_pictures_of_vp8_and_vp9_are_not_shown() -> None:
    vp8, vp9 = PacketInspector("vp8", None), PacketInspector("vp9", None)
    assert vp8.inspect(bytes([0b10000, 1, 2])).shown  # bit 4: show_frame
    assert not vp8.inspect(bytes([0b00000, 1, 2])).shown
    # marker 10, profile 00, show_existing 0, inter 1, show_frame, error_resilient
    assert vp9.inspect(bytes([0b10000110, 1])).shown
    assert not vp9.inspect(bytes([0b10000100, 1])).shown
    assert vp9.inspect(bytes([0b10001000, 1])).shown  # show_existing_frame
    # in profile 3 these bits follow a reserved one
    assert not vp9.inspect(bytes([0b10110010, 1])).shown
    assert vp9.inspect(bytes([0b10110011, 1])).shown


def test_a_vp9_superframe_is_recognised_by_both_ends_of_its_index() -> None:
    vp9 = PacketInspector("vp9", None)
    hidden = bytes([0b10000100, 1, 2, 3])
    # marker 110, sizes of 1 byte (00), 2 frames (001): an index of 2 + 2 x 1 bytes
    assert vp9.inspect(hidden + b"\x86\x01" + b"\xc1\x04\x02\xc1").shown
    # sizes of 2 bytes (01): an index of 2 + 2 x 2 bytes
    assert vp9.inspect(hidden + b"\x86\x01" + b"\xc9\x04\x00\x02\x00\xc9").shown
    # a hidden picture whose payload happens to end with such a byte
    assert not vp9.inspect(hidden + b"\xc1").shown
    assert not vp9.inspect(hidden + b"\x55\x04\x02\xc1").shown
    assert not vp9.inspect(bytes([0b10000100, 0xC1])).shown  # shorter than the index would be
