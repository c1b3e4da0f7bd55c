"""The planner's single decisions, one observation at a time: what it was told, what it answered."""

from collections.abc import Sequence
from typing import Any

import pytest

from vidnb.download.planner.events import (
    BodyReceived,
    CancelRequest,
    Command,
    Complete,
    ConnectionFailed,
    Event,
    GiveUp,
    GiveUpReason,
    RangeStored,
    ReaderLeft,
    ReaderWaits,
    ResponseEnded,
    ResponseStarted,
    Restart,
    RetryTimerFired,
    ScheduleRetry,
    StartRequest,
    Ticked,
    WriteRange,
)
from vidnb.download.planner.retry import Failure, FailureKind, RetryPolicy
from vidnb.download.planner.transfer import MIN_SEGMENT_BYTES, READ_AHEAD_BYTES, Transfer
from vidnb.http.headers import ETag
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

NOW_S = 1_800_000_000.0
POLICY = RetryPolicy(attempts=3, base_delay_s=1.0)
A = Validators(ETag("a", weak=False), total_bytes=100)
B = Validators(ETag("b", weak=False), total_bytes=100)
WEAK = Validators(ETag("a", weak=True), total_bytes=100)
DATED = Validators(None, 784_111_777, date_is_strong=True, total_bytes=100)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"

LOST = Failure(FailureKind.LOST, "the connection broke")
GARBLED = Failure(FailureKind.MISBEHAVED, "the head is malformed")
SHORT = Failure(FailureKind.SHORT, "the connection closed before the file was whole")
EMPTY = Failure(FailureKind.SHORT, "the origin sent no bytes")
UNAVAILABLE = Failure(FailureKind.STATUS, "the origin answered 503", 503)
MISSING = Failure(FailureKind.STATUS, "the origin answered 404", 404)

IF_RANGE = ("If-Range", '"a"')


def plan(**options: Any) -> Transfer:
    given: dict[str, Any] = {
        "policy": POLICY,
        "max_connections": 1,
        "min_segment_bytes": 10,
        "read_ahead_bytes": 10,
    }
    return Transfer(**{**given, **options})


def byte_ranges(*pairs: tuple[int, int]) -> ByteRangeSet:
    return ByteRangeSet(ByteRange(start, stop) for start, stop in pairs)


def resumed(*pairs: tuple[int, int], version: Validators = A, **options: Any) -> Transfer:
    return plan(version=version, stored=byte_ranges(*pairs), **options)


def fetch(number: int, start: int = 0, *headers: tuple[str, str]) -> StartRequest:
    return StartRequest(number, start, headers)


def ranged(number: int, start: int, stop: int | None = None, *, bare: bool = False) -> StartRequest:
    """A Fetch with Range, and with If-Range unless it is `bare`."""
    value = f"bytes={start}-{'' if stop is None else stop - 1}"
    return StartRequest(number, start, (("Range", value), *(() if bare else (IF_RANGE,))))


def whole(
    number: int = 1, total: int | None = 100, tag: str | None = '"a"', **more: str
) -> ResponseStarted:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if total is not None:
        headers["content-length"] = str(total)
    return ResponseStarted(number, 200, headers | ({} if tag is None else {"etag": tag}))


def part(
    number: int, start: int, stop: int, total: int | str = 100, tag: str | None = '"a"'
) -> ResponseStarted:
    headers = {"content-range": f"bytes {start}-{stop - 1}/{total}"}
    return ResponseStarted(number, 206, headers | ({} if tag is None else {"etag": tag}))


def status(number: int, code: int, **more: str) -> ResponseStarted:
    return ResponseStarted(
        number, code, {name.replace("_", "-"): value for name, value in more.items()}
    )


def keep(start: int, stop: int, at: int = 0, generation: int = 0) -> WriteRange:
    return WriteRange(ByteRange(start, stop), at, generation)


def stored(start: int, stop: int, generation: int = 0) -> RangeStored:
    return RangeStored(ByteRange(start, stop), generation)


Steps = Sequence[tuple[Event, Sequence[Command]]]


def play(transfer: Transfer, steps: Steps) -> None:
    """Tell one observation after another; each must be answered by exactly these commands."""
    for number, (seen, commands) in enumerate(steps):
        answered = list(transfer.handle(seen, now_s=NOW_S, jitter=0.0))
        assert answered == list(commands), f"step {number}: {seen}"


def started(transfer: Transfer, *commands: Command) -> Transfer:
    assert list(transfer.start()) == list(commands)
    return transfer


# The first request.


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        pytest.param({}, (), id="plain"),
        pytest.param({"max_connections": 4}, (("Range", "bytes=0-"),), id="several-connections"),
        pytest.param({"finished": A}, (("If-None-Match", '"a"'),), id="finished"),
        pytest.param({"finished": WEAK}, (("If-None-Match", 'W/"a"'),), id="finished-weak"),
        pytest.param({"finished": DATED}, (("If-Modified-Since", DATE),), id="finished-dated"),
        pytest.param({"finished": Validators()}, (), id="finished-without-validators"),
        pytest.param(
            {"finished": A, "max_connections": 4},
            (("If-None-Match", '"a"'), ("Range", "bytes=0-")),
            id="finished-several-connections",
        ),
        pytest.param({"version": A}, (), id="version-without-bytes"),
        pytest.param({"version": A, "stored": ByteRangeSet()}, (), id="version-and-no-bytes"),
        pytest.param({"stored": byte_ranges((0, 50))}, (), id="bytes-without-version"),
        pytest.param(
            {"version": WEAK, "stored": byte_ranges((0, 50))}, (), id="bytes-of-a-weak-version"
        ),
    ],
)
def test_the_first_request(options: dict[str, Any], headers: tuple[tuple[str, str], ...]) -> None:
    transfer = started(plan(**options), fetch(1, 0, *headers))
    assert transfer.stored == ByteRangeSet()
    assert transfer.total_bytes is None
    assert not transfer.is_resumable


@pytest.mark.parametrize(
    ("transfer", "first"),
    [
        pytest.param(resumed((0, 50)), ranged(1, 50), id="the-rest"),
        pytest.param(resumed((0, 50), finished=B), ranged(1, 50), id="a-finished-file-is-older"),
        pytest.param(resumed((0, 50), (70, 100)), ranged(1, 50, 70), id="a-hole"),
        pytest.param(resumed((0, 50), (70, 90)), ranged(1, 50, 70), id="the-first-hole"),
        pytest.param(resumed((60, 100)), fetch(1, 0), id="the-beginning"),
        pytest.param(
            resumed((60, 100), max_connections=2), ranged(1, 0, 60), id="the-beginning-of-several"
        ),
        pytest.param(
            resumed((0, 50), version=DATED),
            fetch(1, 50, ("Range", "bytes=50-"), ("If-Range", DATE)),
            id="dated",
        ),
        pytest.param(
            resumed((0, 50), version=Validators(A.etag)), ranged(1, 50), id="of-unknown-length"
        ),
        pytest.param(resumed((0, 100)), fetch(1, 0, ("If-None-Match", '"a"')), id="everything"),
        pytest.param(
            resumed((0, 100), version=DATED),
            fetch(1, 0, ("If-Modified-Since", DATE)),
            id="everything-dated",
        ),
    ],
)
def test_a_resumed_transfer_asks_for_what_is_missing(
    transfer: Transfer, first: StartRequest
) -> None:
    started(transfer, first)
    assert transfer.is_resumable


def test_the_defaults() -> None:
    assert (MIN_SEGMENT_BYTES, READ_AHEAD_BYTES) == (4 * 2**20, 2**20)
    size_bytes = 2 * MIN_SEGMENT_BYTES
    for total_bytes, splits in [(size_bytes, True), (size_bytes - 1, False)]:
        transfer = Transfer(policy=POLICY, max_connections=2)
        transfer.start()
        answered = transfer.handle(part(1, 0, total_bytes, total_bytes), now_s=NOW_S)
        assert bool(answered) is splits


# One stream.


def test_a_download_from_start_to_end() -> None:
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (BodyReceived(1, 40), [keep(60, 100)]),
            (stored(0, 60), []),
            (ResponseEnded(1), []),
            (stored(60, 100), [Complete(A)]),
        ],
    )
    assert transfer.is_done
    assert transfer.total_bytes == 100
    assert (transfer.failures, transfer.restarts, transfer.peak_connections) == (0, 0, 1)


def test_all_is_stored_before_the_end_is_heard() -> None:
    play(
        started(plan(), fetch(1)),
        [
            (whole(), []),
            (BodyReceived(1, 100), [keep(0, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(A)]),
        ],
    )


def test_the_first_byte_may_be_stored_last() -> None:
    play(
        started(plan(), fetch(1)),
        [
            (whole(), []),
            (BodyReceived(1, 1), [keep(0, 1)]),
            (BodyReceived(1, 99), [keep(1, 100)]),
            (stored(1, 100), []),
            (ResponseEnded(1), []),
            (stored(0, 1), [Complete(A)]),
        ],
    )


def test_what_was_never_announced_is_not_taken() -> None:
    play(
        started(plan(), fetch(1)),
        [
            (whole(), []),
            (BodyReceived(1, 105), [keep(0, 100), CancelRequest(1)]),
            (BodyReceived(1, 5), []),
            (stored(0, 100), [Complete(A)]),
        ],
    )


@pytest.mark.parametrize("is_framed", [True, False])
def test_a_length_that_only_the_end_tells(is_framed: bool) -> None:
    transfer = started(plan(), fetch(1))
    known = Validators(A.etag, total_bytes=60)
    play(
        transfer,
        [
            (whole(total=None), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (stored(0, 60), []),
            (ResponseEnded(1, framed=is_framed), [Complete(known, is_size_verified=is_framed)]),
        ],
    )


def test_a_length_that_only_the_end_tells_before_all_is_stored() -> None:
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (whole(total=None), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (ResponseEnded(1), []),
            (stored(0, 60), [Complete(Validators(A.etag, total_bytes=60))]),
        ],
    )


def test_a_guessed_length_is_forgotten_with_the_bytes() -> None:
    """The size is unverified for as long as the bytes are those of that answer."""
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (whole(total=None, tag=None), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (ConnectionFailed(1, LOST), [Restart(1), ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(2)]),
            (whole(2), []),
            (BodyReceived(2, 100), [keep(0, 100, generation=1)]),
            (ResponseEnded(2), []),
            (stored(0, 100, 1), [Complete(A)]),
        ],
    )


@pytest.mark.parametrize(
    ("options", "head"),
    [
        pytest.param({}, whole(total=0), id="length-0"),
        pytest.param({}, part(1, 0, 1, 0), id="not-for-a-206"),
        pytest.param({"max_connections": 2}, status(1, 416, content_range="bytes */0"), id="416"),
    ],
)
def test_nothing_is_no_file(options: dict[str, Any], head: ResponseStarted) -> None:
    transfer = plan(**options)
    transfer.start()
    answered = transfer.handle(head, now_s=NOW_S, jitter=0.0)
    if head.status == 206:  # such a Content-Range contradicts itself
        failure = Failure(
            FailureKind.MISBEHAVED, "the origin answered 206 although no range was asked for"
        )
        assert answered == (CancelRequest(1), ScheduleRetry(0.5, failure))
    else:
        assert answered == (CancelRequest(1), GiveUp(GiveUpReason.EMPTY, EMPTY, 1))


def test_nothing_without_a_length_is_no_file() -> None:
    play(
        started(plan(), fetch(1)),
        [(whole(total=None), []), (ResponseEnded(1), [GiveUp(GiveUpReason.EMPTY, EMPTY, 1)])],
    )


# Failures.


def test_an_early_end_is_resumed() -> None:
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (ResponseEnded(1), [ScheduleRetry(0.5, SHORT)]),
            (stored(0, 60), []),
            (RetryTimerFired(), [ranged(2, 60)]),
            (part(2, 60, 100), []),
            (BodyReceived(2, 40), [keep(60, 100)]),
            (ResponseEnded(2), []),
            (stored(60, 100), [Complete(A)]),
        ],
    )
    assert (transfer.failures, transfer.restarts) == (1, 0)


def test_the_rest_of_an_unknown_length_is_resumed() -> None:
    play(
        started(plan(), fetch(1)),
        [
            (whole(total=None), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [ranged(2, 60)]),
            (part(2, 60, 100), []),
            (BodyReceived(2, 40), [keep(60, 100)]),
            (stored(0, 60), []),
            (stored(60, 100), [CancelRequest(2), Complete(A)]),
        ],
    )


def test_an_unclean_close_after_the_last_byte_is_no_failure() -> None:
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 100), [keep(0, 100)]),
            (ConnectionFailed(1, LOST), []),
            (stored(0, 100), [Complete(A)]),
        ],
    )
    assert transfer.failures == 0


@pytest.mark.parametrize("version", [WEAK, Validators(total_bytes=100)], ids=["weak", "none"])
def test_without_a_strong_validator_a_failure_costs_every_byte(version: Validators) -> None:
    tag = None if version.etag is None else str(version.etag)
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (whole(tag=tag), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (stored(0, 60), []),
            (ConnectionFailed(1, LOST), [Restart(1), ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(2)]),
            (whole(2, tag=tag), []),
            (BodyReceived(2, 100), [keep(0, 100, generation=1)]),
            (stored(60, 100, 0), []),  # a write of the first try that ended late
            (stored(0, 100, 1), [CancelRequest(2), Complete(version)]),
        ],
    )
    assert transfer.restarts == 0  # nobody changed anything


def test_failures_without_progress_run_out() -> None:
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(2)]),
            (status(2, 503), [CancelRequest(2), ScheduleRetry(1.0, UNAVAILABLE)]),
            (RetryTimerFired(), [fetch(3)]),
            (ConnectionFailed(3, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 3)]),
        ],
    )


def test_progress_refills_the_budget() -> None:
    """And a retry that brings only bytes that were there before does not."""
    transfer = started(plan(), fetch(1))
    play(
        transfer,
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(2)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(1.0, LOST)]),
            (RetryTimerFired(), [fetch(3)]),
            (whole(3, tag=None), []),
            (BodyReceived(3, 10), [keep(0, 10)]),
            (ConnectionFailed(3, LOST), [Restart(1), ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(4)]),
            (whole(4, tag=None), []),
            (BodyReceived(4, 10), [keep(0, 10, generation=1)]),
            (ConnectionFailed(4, LOST), [Restart(2), ScheduleRetry(1.0, LOST)]),
            (RetryTimerFired(), [fetch(5)]),
            (whole(5, tag=None), []),
            (BodyReceived(5, 10), [keep(0, 10, generation=2)]),
            (ConnectionFailed(5, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 3)]),
        ],
    )
    assert transfer.failures == 5


def test_a_resumed_part_is_no_progress() -> None:
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [ranged(2, 50)]),
            (part(2, 50, 100), []),
            (BodyReceived(2, 1), [keep(50, 51)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
        ],
    )


def test_while_it_waits_nothing_is_asked() -> None:
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (ReaderWaits(1, 90), []),
            (ReaderLeft(1), []),
            (ReaderLeft(7), []),
            (RetryTimerFired(), [ranged(2, 50)]),
        ],
    )


@pytest.mark.parametrize(
    ("more", "wait_s"),
    [
        ({}, 0.5),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.5),
        ({"retry_after": "?"}, 0.5),
    ],
)
def test_retry_after_is_obeyed(more: dict[str, str], wait_s: float) -> None:
    transfer = plan()
    transfer.start()
    _, wait = transfer.handle(status(1, 503, **more), now_s=NOW_S, jitter=0.0)
    assert isinstance(wait, ScheduleRetry)
    assert wait.delay_s == wait_s


def test_retry_after_beyond_the_limit_ends_it() -> None:
    failure = Failure(FailureKind.STATUS, "the origin answered 429", 429, 121.0)
    play(
        started(plan(), fetch(1)),
        [
            (
                status(1, 429, retry_after="121"),
                [CancelRequest(1), GiveUp(GiveUpReason.FAILED, failure, 1)],
            )
        ],
    )


def test_jitter_reaches_the_policy() -> None:
    transfer = plan()
    transfer.start()
    (wait,) = transfer.handle(ConnectionFailed(1, LOST), now_s=NOW_S, jitter=0.5)
    assert wait == ScheduleRetry(0.75, LOST)


def test_a_status_that_does_not_pass_ends_it() -> None:
    play(
        started(plan(), fetch(1)),
        [(status(1, 404), [CancelRequest(1), GiveUp(GiveUpReason.FAILED, MISSING, 1)])],
    )


def test_packed_bytes_end_it() -> None:
    failure = Failure(
        FailureKind.MISBEHAVED,
        "the origin sent the file packed (gzip) although it was asked not to",
    )
    play(
        started(plan(), fetch(1)),
        [
            (
                whole(content_encoding="gzip"),
                [CancelRequest(1), GiveUp(GiveUpReason.MISBEHAVED, failure, 1)],
            )
        ],
    )


def test_a_malformed_answer_is_tried_once_more() -> None:
    play(
        started(plan(policy=RetryPolicy(base_delay_s=1.0)), fetch(1)),
        [
            (ConnectionFailed(1, GARBLED), [ScheduleRetry(0.5, GARBLED)]),
            (RetryTimerFired(), [fetch(2)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(1.0, LOST)]),
            (RetryTimerFired(), [fetch(3)]),
            (ConnectionFailed(3, GARBLED), [GiveUp(GiveUpReason.MISBEHAVED, GARBLED, 3)]),
        ],
    )


def test_a_malformed_answer_is_forgiven_with_progress() -> None:
    play(
        started(plan(), fetch(1)),
        [
            (ConnectionFailed(1, GARBLED), [ScheduleRetry(0.5, GARBLED)]),
            (RetryTimerFired(), [fetch(2)]),
            (whole(2), []),
            (BodyReceived(2, 5), [keep(0, 5)]),
            (ConnectionFailed(2, GARBLED), [ScheduleRetry(0.5, GARBLED)]),
        ],
    )


# Versions.


def test_a_finished_file_that_is_unchanged_is_kept() -> None:
    transfer = started(plan(finished=A), fetch(1, 0, ("If-None-Match", '"a"')))
    play(transfer, [(status(1, 304), [CancelRequest(1), Complete(A, is_unchanged=True)])])
    assert transfer.is_done


def test_a_finished_file_that_changed_is_fetched() -> None:
    play(
        started(plan(finished=A), fetch(1, 0, ("If-None-Match", '"a"'))),
        [
            (whole(tag='"b"'), []),
            (BodyReceived(1, 100), [keep(0, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(B)]),
        ],
    )


@pytest.mark.parametrize("head", [status(1, 304), whole()], ids=["304", "200"])
def test_a_part_that_is_whole_needs_one_answer(head: ResponseStarted) -> None:
    play(
        started(resumed((0, 100)), fetch(1, 0, ("If-None-Match", '"a"'))),
        [(head, [CancelRequest(1), Complete(A)])],
    )


def test_a_part_that_is_whole_and_of_an_old_version_is_fetched_anew() -> None:
    play(
        started(resumed((0, 100)), fetch(1, 0, ("If-None-Match", '"a"'))),
        [
            (whole(tag='"b"'), [Restart(1)]),
            (BodyReceived(1, 100), [keep(0, 100, generation=1)]),
            (stored(0, 100, 1), [CancelRequest(1), Complete(B)]),
        ],
    )


@pytest.mark.parametrize(
    ("head", "commands"),
    [
        pytest.param(part(1, 50, 100), [], id="the-rest"),
        pytest.param(whole(tag='"b"'), [Restart(1)], id="a-new-version-with-its-bytes"),
        pytest.param(whole(tag=None), [Restart(1)], id="no-version"),
        pytest.param(whole(total=101), [Restart(1)], id="same-tag-another-length"),
        pytest.param(
            part(1, 50, 100, tag='"b"'), [CancelRequest(1), Restart(1), fetch(2)], id="careless-206"
        ),
        pytest.param(
            part(1, 50, 100, tag=None),
            [CancelRequest(1), Restart(1), fetch(2)],
            id="206-without-tag",
        ),
        pytest.param(
            part(1, 50, 101, 101), [CancelRequest(1), Restart(1), fetch(2)], id="total-changed"
        ),
        pytest.param(part(1, 0, 100, tag='"b"'), [Restart(1)], id="a-new-version-from-its-start"),
        pytest.param(part(1, 0, 100), [], id="more-than-asked"),
        pytest.param(part(1, 50, 60), [], id="less-than-asked"),
        pytest.param(part(1, 60, 100), [CancelRequest(1), fetch(2)], id="wrong-start"),
        pytest.param(part(1, 0, 50), [CancelRequest(1), fetch(2)], id="ends-before"),
        pytest.param(part(1, 50, 100, "*"), [CancelRequest(1), fetch(2)], id="total-unknown"),
        pytest.param(whole(), [CancelRequest(1), ranged(2, 50, bare=True)], id="200-to-if-range"),
        pytest.param(status(1, 416), [CancelRequest(1), Restart(1), fetch(2)], id="416"),
        pytest.param(
            status(1, 416, content_range="bytes */40"),
            [CancelRequest(1), Restart(1), fetch(2)],
            id="416-of-another-length",
        ),
        pytest.param(
            status(1, 304),
            [
                CancelRequest(1),
                GiveUp(
                    GiveUpReason.FAILED,
                    Failure(FailureKind.STATUS, "the origin answered 304", 304),
                    1,
                ),
            ],
            id="304-to-no-question",
        ),
        pytest.param(
            whole(total=0), [CancelRequest(1), GiveUp(GiveUpReason.EMPTY, EMPTY, 1)], id="empty"
        ),
    ],
)
def test_what_a_resumed_request_is_answered(head: ResponseStarted, commands: list[Command]) -> None:
    transfer = started(resumed((0, 50)), ranged(1, 50))
    play(transfer, [(head, commands)])
    changed = Restart(1) in commands
    assert transfer.stored == (ByteRangeSet() if changed else byte_ranges((0, 50)))
    assert transfer.restarts == int(changed)


def test_an_overlapping_answer_is_trimmed() -> None:
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (part(1, 20, 100), []),
            (BodyReceived(1, 20), []),
            (BodyReceived(1, 20), [keep(50, 60, at=10)]),
            (BodyReceived(1, 40), [keep(60, 100)]),
            (stored(50, 100), [CancelRequest(1), Complete(A)]),
        ],
    )


def test_a_short_answer_is_continued() -> None:
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (part(1, 50, 60), []),
            (BodyReceived(1, 10), [keep(50, 60)]),
            (ResponseEnded(1), [ranged(2, 60)]),
        ],
    )


def test_after_a_wrong_start_the_one_stream_runs_over_what_is_there() -> None:
    """No range is asked for again, and no byte is written twice."""
    transfer = started(resumed((0, 50)), ranged(1, 50))
    play(
        transfer,
        [
            (part(1, 60, 100), [CancelRequest(1), fetch(2)]),
            (whole(2), []),
            (BodyReceived(2, 40), []),
            (BodyReceived(2, 60), [keep(50, 100, at=10)]),
            (stored(50, 100), [CancelRequest(2), Complete(A)]),
        ],
    )
    assert transfer.answers_ranges is False


def test_an_origin_that_knows_no_ranges_is_asked_twice() -> None:
    """With If-Range, then without; then it is one stream, and the version must be the same."""
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (whole(1), [CancelRequest(1), ranged(2, 50, bare=True)]),
            (whole(2), []),
            (BodyReceived(2, 100), [keep(50, 100, at=50)]),
            (stored(50, 100), [CancelRequest(2), Complete(A)]),
        ],
    )


def test_an_origin_that_dislikes_if_range_is_asked_without() -> None:
    """Then it is the ETag of the 206 that tells."""
    anew: list[Command] = [CancelRequest(2), Restart(1), fetch(3)]
    for tag, commands in (('"a"', []), ('"b"', anew)):
        play(
            started(resumed((0, 50)), ranged(1, 50)),
            [
                (whole(1), [CancelRequest(1), ranged(2, 50, bare=True)]),
                (part(2, 50, 100, tag=tag), commands),
            ],
        )


def test_a_stream_that_runs_over_kept_bytes_and_is_lost_begins_again() -> None:
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (part(1, 60, 100), [CancelRequest(1), fetch(2)]),
            (whole(2), []),
            (BodyReceived(2, 60), [keep(50, 60, at=50)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(3)]),
            (whole(3, tag='"b"'), [Restart(1)]),
        ],
    )


@pytest.mark.parametrize("is_framed", [True, False])
def test_a_stream_without_length_that_ends_before_what_is_there_was_cut(is_framed: bool) -> None:
    """Fifty bytes of this version are here: an end after thirty is none."""
    play(
        started(resumed((0, 50), version=Validators(A.etag)), ranged(1, 50)),
        [
            (whole(1, None), [CancelRequest(1), ranged(2, 50, bare=True)]),
            (whole(2, None), []),
            (BodyReceived(2, 30), []),
            (ResponseEnded(2, framed=is_framed), [ScheduleRetry(0.5, SHORT)]),
            (RetryTimerFired(), [fetch(3)]),
            (whole(3, None), []),
            (BodyReceived(3, 60), [keep(50, 60, at=50)]),
            (stored(50, 60), []),
            (
                ResponseEnded(3, framed=is_framed),
                [Complete(Validators(A.etag, total_bytes=60), is_size_verified=is_framed)],
            ),
        ],
    )


def test_a_version_that_ends_before_what_is_there_is_another_one() -> None:
    """Whatever its tag says."""
    play(
        started(resumed((0, 50), version=Validators(A.etag)), ranged(1, 50)),
        [
            (whole(1, 30), [Restart(1)]),
            (BodyReceived(1, 30), [keep(0, 30, generation=1)]),
            (stored(0, 30, 1), [CancelRequest(1), Complete(Validators(A.etag, total_bytes=30))]),
        ],
    )


@pytest.mark.parametrize(
    ("more", "commands"),
    [
        pytest.param({"content_range": "bytes */50"}, None, id="ours"),
        pytest.param({"content_range": "bytes */50", "etag": '"a"'}, None, id="ours-by-its-tag"),
        pytest.param(
            {"content_range": "bytes */50", "etag": '"b"'},
            [CancelRequest(1), Restart(1), fetch(2)],
            id="another-tag",
        ),
        pytest.param(
            {"content_range": "bytes */51"},
            [CancelRequest(1), Restart(1), fetch(2)],
            id="another-length",
        ),
        pytest.param({}, [CancelRequest(1), Restart(1), fetch(2)], id="no-length"),
    ],
)
def test_a_416_where_our_bytes_end(more: dict[str, str], commands: list[Command] | None) -> None:
    """The length was not known, and everything had come."""
    done: list[Command] = [CancelRequest(1), Complete(Validators(A.etag, total_bytes=50))]
    play(
        started(resumed((0, 50), version=Validators(A.etag)), ranged(1, 50)),
        [(status(1, 416, **more), done if commands is None else commands)],
    )


def test_a_416_where_our_bytes_end_and_the_first_is_missing() -> None:
    transfer = resumed((1, 50), version=Validators(A.etag), max_connections=2)
    play(
        started(transfer, ranged(1, 0)),
        [(status(1, 416, content_range="bytes */50"), [CancelRequest(1), Restart(1), fetch(2)])],
    )


def test_after_a_416_no_range_is_asked_for_again() -> None:
    play(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (status(1, 416), [CancelRequest(1), Restart(1), fetch(2)]),
            (whole(2), []),
            (BodyReceived(2, 60), [keep(0, 60, generation=1)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [fetch(3)]),
        ],
    )


def test_a_416_without_if_range_proves_nothing() -> None:
    play(
        started(resumed((0, 50), version=Validators(A.etag)), ranged(1, 50)),
        [
            (whole(1, None), [CancelRequest(1), ranged(2, 50, bare=True)]),
            (status(2, 416, content_range="bytes */50"), [CancelRequest(2), Restart(1), fetch(3)]),
        ],
    )


def test_a_bare_416_to_the_first_byte_is_asked_without_a_range() -> None:
    play(
        started(plan(max_connections=2), ranged(1, 0, bare=True)),
        [(status(1, 416), [CancelRequest(1), Restart(1), fetch(2)])],
    )


def test_a_206_that_nobody_asked_for_is_a_failure() -> None:
    failure = Failure(
        FailureKind.MISBEHAVED, "the origin answered 206 although no range was asked for"
    )
    play(
        started(plan(), fetch(1)),
        [
            (part(1, 0, 100), [CancelRequest(1), ScheduleRetry(0.5, failure)]),
            (RetryTimerFired(), [fetch(2)]),
            (part(2, 0, 100), [CancelRequest(2), GiveUp(GiveUpReason.MISBEHAVED, failure, 2)]),
        ],
    )


CHANGED = Failure(FailureKind.CHANGED, "the file at the origin changed 4 times")


def test_changes_of_version_are_bounded() -> None:
    """As many as the policy allows attempts; the bytes of no two are joined."""
    transfer = started(plan(), fetch(1))
    play(transfer, [(whole(tag='"v0"'), [])])
    for number in range(1, 5):
        asked = StartRequest(
            number + 1, 9, (("Range", "bytes=9-"), ("If-Range", f'"v{number - 1}"'))
        )
        play(
            transfer,
            [
                (BodyReceived(number, 9), [keep(0, 9, generation=number - 1)]),
                (ConnectionFailed(number, LOST), [ScheduleRetry(0.5, LOST)]),
                (RetryTimerFired(), [asked]),
            ],
        )
        is_last = number == 4
        end: list[Command] = [CancelRequest(number + 1), GiveUp(GiveUpReason.CHANGED, CHANGED, 1)]
        play(
            transfer,
            [(whole(number + 1, tag=f'"v{number}"'), end if is_last else [Restart(number)])],
        )


def test_changes_that_need_another_request_are_bounded_too() -> None:
    transfer = started(plan(), fetch(1))
    play(transfer, [(whole(tag='"v0"'), [])])
    for number in range(1, 5):
        streaming, asked = 2 * number - 1, 2 * number
        ask = StartRequest(asked, 9, (("Range", "bytes=9-"), ("If-Range", f'"v{number - 1}"')))
        end: list[Command] = [CancelRequest(asked), GiveUp(GiveUpReason.CHANGED, CHANGED, 1)]
        again: list[Command] = [CancelRequest(asked), Restart(number), fetch(asked + 1)]
        play(
            transfer,
            [
                (BodyReceived(streaming, 9), [keep(0, 9, generation=number - 1)]),
                (ConnectionFailed(streaming, LOST), [ScheduleRetry(0.5, LOST)]),
                (RetryTimerFired(), [ask]),
                (part(asked, 9, 100, tag=f'"v{number}"'), end if number == 4 else again),
                (whole(asked + 1, tag=f'"v{number}"'), []),
            ],
        )


def test_what_a_new_version_brings_is_progress() -> None:
    """Ninety bytes of the old one are no mark that the new one has to pass."""
    play(
        started(resumed((0, 90)), ranged(1, 90)),
        [
            (whole(tag='"b"'), [Restart(1)]),
            (BodyReceived(1, 5), [keep(0, 5, generation=1)]),
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [StartRequest(2, 5, (("Range", "bytes=5-"), ("If-Range", '"b"')))]),
            (part(2, 5, 100, tag='"b"'), []),
            (BodyReceived(2, 5), [keep(5, 10, generation=1)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
        ],
    )


# Sizes.


@pytest.mark.parametrize(
    ("transfer", "head", "size"),
    [
        pytest.param(plan(max_bytes=99), whole(), "100 bytes", id="200"),
        pytest.param(plan(max_bytes=99, max_connections=2), part(1, 0, 10), "100 bytes", id="206"),
        pytest.param(
            resumed((0, 50), version=Validators(A.etag), max_bytes=99),
            part(1, 50, 100),
            "100 bytes",
            id="resumed",
        ),
    ],
)
def test_too_large_by_its_head(transfer: Transfer, head: ResponseStarted, size: str) -> None:
    transfer.start()
    failure = Failure(FailureKind.REFUSED, f"the file has {size}, and max_bytes allows 99")
    play(transfer, [(head, [CancelRequest(1), GiveUp(GiveUpReason.TOO_LARGE, failure, 1)])])


def test_too_large_by_what_arrives() -> None:
    failure = Failure(FailureKind.REFUSED, "it goes on after the 99 bytes that max_bytes allows")
    play(
        started(plan(max_bytes=99), fetch(1)),
        [
            (whole(total=None), []),
            (BodyReceived(1, 99), [keep(0, 99)]),
            (BodyReceived(1, 1), [CancelRequest(1), GiveUp(GiveUpReason.TOO_LARGE, failure, 1)]),
        ],
    )


def test_too_large_before_anything_is_asked() -> None:
    failure = Failure(FailureKind.REFUSED, "the file has 100 bytes, and max_bytes allows 99")
    started(resumed((0, 50), max_bytes=99), GiveUp(GiveUpReason.TOO_LARGE, failure, 1))


def test_just_small_enough() -> None:
    started(resumed((0, 50), max_bytes=100), ranged(1, 50))
    play(
        started(plan(max_bytes=100), fetch(1)),
        [(whole(), []), (BodyReceived(1, 100), [keep(0, 100)])],
    )


# Several connections.


def split(**options: Any) -> Transfer:
    """Two connections: the first from byte 0, the second from byte 50, neither has brought any."""
    transfer = started(plan(max_connections=2, **options), ranged(1, 0, bare=True))
    play(transfer, [(part(1, 0, 100), [ranged(2, 50)])])
    return transfer


def test_ranges_that_are_proved_open_another_connection() -> None:
    transfer = split()
    assert transfer.answers_ranges is True
    play(
        transfer,
        [
            (part(2, 50, 100), []),
            (BodyReceived(1, 30), [keep(0, 30)]),
            (BodyReceived(2, 50), [keep(50, 100)]),
            (ResponseEnded(2), [ranged(3, 40, 50)]),
            (BodyReceived(1, 20), [keep(30, 40), CancelRequest(1)]),
            (part(3, 40, 50), []),
            (BodyReceived(3, 10), [keep(40, 50)]),
            (ResponseEnded(3), []),
            (stored(0, 40), []),
            (stored(50, 100), []),
            (stored(40, 50), [Complete(A)]),
        ],
    )
    assert transfer.peak_connections == 2


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(part(1, 0, 100, tag=None), id="no-validator"),
        pytest.param(part(1, 0, 100, tag='W/"a"'), id="weak-validator"),
        pytest.param(whole(1), id="range-ignored"),
        pytest.param(part(1, 0, 19, 19), id="small"),
    ],
)
def test_what_proves_nothing_opens_none(head: ResponseStarted) -> None:
    play(
        started(plan(max_connections=4), ranged(1, 0, bare=True)),
        [(head, []), (BodyReceived(1, 1), [keep(0, 1)])],
    )


def test_as_many_as_allowed() -> None:
    transfer = started(plan(max_connections=4), ranged(1, 0, bare=True))
    play(transfer, [(part(1, 0, 100), [ranged(2, 50), ranged(3, 25, 50), ranged(4, 75)])])
    assert transfer.peak_connections == 4


def test_a_resumed_hole_gets_its_own_connection() -> None:
    transfer = started(resumed((20, 60), max_connections=2), ranged(1, 0, 20))
    play(transfer, [(part(1, 0, 20), [ranged(2, 60)])])


SECOND_REFUSED: list[Any] = [
    pytest.param(status(2, 403), id="403"),
    pytest.param(status(2, 503), id="503"),
    pytest.param(status(2, 429, retry_after="999"), id="429"),
    pytest.param(ConnectionFailed(2, LOST), id="lost"),
    pytest.param(part(2, 0, 50), id="wrong-start"),
    pytest.param(part(2, 50, 100, "*"), id="total-unknown"),
    pytest.param(status(2, 416), id="416"),
    pytest.param(whole(2, content_encoding="gzip"), id="packed"),
]


@pytest.mark.parametrize("refusal", SECOND_REFUSED)
@pytest.mark.parametrize("received", [0, 10])
def test_a_second_connection_that_is_refused_leaves_the_first(
    refusal: Event, received: int
) -> None:
    transfer = split()
    if received:
        play(transfer, [(BodyReceived(1, received), [keep(0, received)])])
    dropped: list[Command] = [] if isinstance(refusal, ConnectionFailed) else [CancelRequest(2)]
    play(
        transfer,
        [
            (refusal, dropped),
            (BodyReceived(1, 100 - received), [keep(received, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(A)]),
        ],
    )
    assert transfer.restarts == 0


@pytest.mark.parametrize("received", [0, 10])
def test_a_second_connection_that_brings_the_whole_leaves_the_first(received: int) -> None:
    transfer = split()
    if received:
        play(transfer, [(BodyReceived(1, received), [keep(0, received)])])
    middle = 55 if received else 50
    play(
        transfer,
        [
            (whole(2), [CancelRequest(2), ranged(3, middle, bare=True)]),
            (whole(3), [CancelRequest(3)]),
            (BodyReceived(1, 100 - received), [keep(received, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(A)]),
        ],
    )


def test_a_connection_that_was_of_use_is_opened_again() -> None:
    transfer = split()
    play(
        transfer,
        [
            (part(2, 50, 100), []),
            (BodyReceived(2, 10), [keep(50, 60)]),
            (ConnectionFailed(2, LOST), [ranged(3, 60)]),
        ],
    )
    assert transfer.failures == 1


def test_the_first_connection_lost_leaves_the_second() -> None:
    """It brought nothing, so one goes on; when that one is through it fetches the rest."""
    play(
        split(),
        [
            (part(2, 50, 100), []),
            (ConnectionFailed(1, LOST), []),
            (BodyReceived(2, 50), [keep(50, 100)]),
            (ResponseEnded(2), [fetch(3)]),
        ],
    )


def test_a_fetch_that_reaches_another_one_is_dropped() -> None:
    play(
        split(),
        [
            (part(2, 50, 100), []),
            (BodyReceived(2, 30), [keep(50, 80)]),
            (BodyReceived(1, 60), [keep(0, 50), CancelRequest(1), ranged(3, 90)]),
        ],
    )


@pytest.mark.parametrize(
    ("head", "commands"),
    [
        pytest.param(
            part(2, 50, 100, tag='"b"'),
            [CancelRequest(1), CancelRequest(2), Restart(1), fetch(3)],
            id="206",
        ),
        pytest.param(whole(2, tag='"b"'), [CancelRequest(1), Restart(1)], id="200"),
        pytest.param(
            part(2, 50, 101, 101),
            [CancelRequest(1), CancelRequest(2), Restart(1), fetch(3)],
            id="total",
        ),
    ],
)
def test_a_version_that_changes_between_segments_starts_over(
    head: ResponseStarted, commands: list[Command]
) -> None:
    """With one stream from then on: an origin that disagrees with itself gets no second one."""
    transfer = split()
    play(transfer, [(BodyReceived(1, 10), [keep(0, 10)]), (head, commands)])
    assert transfer.stored == ByteRangeSet()
    assert transfer._scheduler.limit == 1


# Readers.


def test_a_reader_is_served_before_the_fill() -> None:
    """The fill gives its connection up, and comes back when the reader is served."""
    transfer = started(resumed((0, 10)), ranged(1, 10))
    play(
        transfer,
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 70), [CancelRequest(1), ranged(2, 70)]),
            (part(2, 70, 100), []),
            (BodyReceived(2, 30), [keep(70, 100)]),
            (ResponseEnded(2), [ranged(3, 10, 70)]),
            (ReaderLeft(1), []),
        ],
    )


def test_a_reader_gets_a_connection_of_its_own_where_one_is_free() -> None:
    transfer = started(resumed((0, 10), max_connections=3, min_segment_bytes=100), ranged(1, 10))
    play(
        transfer,
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 70), [ranged(2, 70)]),
            (ReaderWaits(2, 40), [ranged(3, 40, 70)]),
        ],
    )


@pytest.mark.parametrize(
    ("offset", "is_served"),
    [
        pytest.param(5, False, id="is-here"),
        pytest.param(10, False, id="arrives-next"),
        pytest.param(19, False, id="arrives-soon"),
        pytest.param(20, True, id="arrives-late"),
        pytest.param(99, True, id="last"),
        pytest.param(100, False, id="beyond-the-end"),
    ],
)
def test_when_a_reader_needs_a_request(offset: int, is_served: bool) -> None:
    transfer = started(resumed((0, 10)), ranged(1, 10))
    asks: list[Command] = [CancelRequest(1), ranged(2, offset)] if is_served else []
    play(transfer, [(part(1, 10, 100), []), (ReaderWaits(1, offset), asks)])


def test_a_reader_that_moves_on_is_followed() -> None:
    play(
        started(resumed((0, 10)), ranged(1, 10)),
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 50), [CancelRequest(1), ranged(2, 50)]),
            (part(2, 50, 100), []),
            (ReaderWaits(1, 55), []),
            (ReaderWaits(1, 90), [CancelRequest(2), ranged(3, 90)]),
        ],
    )


def test_readers_do_not_take_each_others_connection() -> None:
    play(
        started(resumed((0, 10)), ranged(1, 10)),
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 50), [CancelRequest(1), ranged(2, 50)]),
            (ReaderWaits(2, 80), []),
            (ReaderLeft(1), [CancelRequest(2), ranged(3, 80)]),
        ],
    )


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(whole(), id="ranges-unproved"),
        pytest.param(whole(tag=None), id="no-validator"),
        pytest.param(whole(total=None), id="no-length"),
    ],
)
def test_readers_of_one_plain_stream_are_held(head: ResponseStarted) -> None:
    play(started(plan(), fetch(1)), [(head, []), (ReaderWaits(1, 90), [])])


def test_a_reader_gets_the_line_to_itself() -> None:
    """What is not for it is left unread, until a second after it last waited, or it leaves."""
    transfer = started(
        resumed((0, 10), max_connections=3, min_segment_bytes=100, read_ahead_bytes=10),
        ranged(1, 10),
    )
    now_s = 1000.0

    def tell(seen: Event, after_s: float = 0.0) -> tuple[bool, bool]:
        nonlocal now_s
        now_s += after_s
        transfer.handle(seen, now_s=now_s)
        return transfer.may_read(1), transfer.may_read(2)

    both, only_second = (True, True), (False, True)
    assert tell(part(1, 10, 100)) == both
    assert tell(ReaderWaits(1, 70)) == both  # its own is still on the way
    assert tell(part(2, 70, 100)) == only_second
    assert tell(BodyReceived(2, 5), 0.5) == only_second
    assert tell(ReaderWaits(1, 75), 0.1) == only_second
    assert tell(Ticked(), 0.99) == only_second
    assert tell(Ticked(), 0.02) == both
    assert tell(ReaderWaits(1, 76)) == only_second
    assert tell(ReaderWaits(2, 12)) == both  # each of them serves one
    assert tell(ReaderLeft(2)) == only_second
    assert tell(ReaderWaits(1, 5)) == both  # that is here; nobody serves it
    assert tell(ReaderWaits(1, 76)) == only_second
    assert tell(ReaderLeft(1)) == both
    assert transfer.may_read(7)


@pytest.mark.parametrize("waits", [True, False])
def test_nothing_is_tried_out_while_a_reader_waits(waits: bool) -> None:
    """What it needs has the line to itself; a second after the last wait that is over."""
    transfer = Transfer(policy=RetryPolicy())
    transfer.start()
    now_s = 1000.0
    size_bytes = 10**9
    head = {"content-length": str(size_bytes), "etag": '"v"', "accept-ranges": "bytes"}
    transfer.handle(ResponseStarted(1, 200, head), now_s=now_s)

    def fetches(seconds: float, *, waits: bool) -> int:
        nonlocal now_s
        opened = 0
        for _ in range(round(seconds * 100)):
            now_s += 0.01
            seen: list[Event] = [BodyReceived(1, 20_000)]
            if waits:
                seen.append(ReaderWaits(1, transfer._segments.kept.stop + 20_000))
            for one in seen:
                opened += sum(
                    isinstance(c, StartRequest) for c in transfer.handle(one, now_s=now_s)
                )
        return opened

    assert fetches(3, waits=waits) == (0 if waits else 1)
    if waits:
        assert fetches(0.9, waits=False) == 0
        assert fetches(2, waits=False) == 1


# Automatic.


@pytest.mark.parametrize(
    ("transfer", "first"),
    [
        pytest.param(plan(max_connections=None), fetch(1), id="plain"),
        pytest.param(resumed((0, 50), max_connections=None), ranged(1, 50), id="the-rest"),
        pytest.param(
            resumed((60, 100), max_connections=None), ranged(1, 0, 60), id="the-beginning"
        ),
        pytest.param(
            resumed((0, 100), max_connections=None),
            fetch(1, 0, ("If-None-Match", '"a"')),
            id="everything",
        ),
        pytest.param(
            plan(max_connections=4, host_takes=1), fetch(1), id="of-a-host-that-takes-one"
        ),
        pytest.param(
            resumed((60, 100), max_connections=None, host_takes=1),
            fetch(1),
            id="the-beginning-of-a-host-that-takes-one",
        ),
    ],
)
def test_the_first_request_of_an_automatic_one(transfer: Transfer, first: StartRequest) -> None:
    started(transfer, first)


@pytest.mark.parametrize(
    ("head", "is_probed"),
    [
        pytest.param(whole(), True, id="strong-and-long"),
        pytest.param(whole(accept_ranges="bytes"), True, id="ranges-are-named"),
        pytest.param(whole(accept_ranges=" None "), False, id="no-ranges"),
        pytest.param(whole(tag=None), False, id="no-validator"),
        pytest.param(whole(tag='W/"a"'), False, id="weak-validator"),
        pytest.param(whole(total=None), False, id="no-length"),
        pytest.param(whole(total=19), False, id="small"),
    ],
)
def test_when_a_plain_answer_is_probed(head: ResponseStarted, is_probed: bool) -> None:
    """One more connection, after a measurement; its answer is the proof."""
    transfer = started(plan(max_connections=None), fetch(1))
    assert transfer.handle(head, now_s=NOW_S) == ()
    transfer.handle(BodyReceived(1, 1), now_s=NOW_S)
    asked = [
        transfer.handle(Ticked(), now_s=NOW_S + tick / 20, spare_connections=spare)
        for tick, spare in [(0, 5)] + [(tick, 0) for tick in range(1, 10)] + [(10, 5)]
    ]
    assert asked == [()] * 10 + [(ranged(2, 50),) if is_probed else ()]


@pytest.mark.parametrize(
    ("refusal", "working"),
    [
        (status(2, 403), 1),
        (status(2, 503), 1),
        (status(2, 429, retry_after="999"), 1),
        (status(2, 416), 1),
        (ConnectionFailed(2, Failure(FailureKind.CONNECT, "the connection was refused")), 1),
        (part(2, 0, 50), 1),
        (ConnectionFailed(2, LOST), None),
        (ConnectionFailed(2, GARBLED), None),
        (whole(2, content_encoding="gzip"), None),
    ],
)
def test_what_counts_as_refused(refusal: Event, working: int | None) -> None:
    transfer = split()
    assert transfer.refused_connections is None
    transfer.handle(refusal, now_s=NOW_S)
    assert transfer.refused_connections == working


def test_an_ignored_range_is_refused_too() -> None:
    transfer = split()
    transfer.handle(BodyReceived(1, 1), now_s=NOW_S)
    transfer.handle(whole(2), now_s=NOW_S)
    assert transfer.refused_connections is None
    transfer.handle(whole(3), now_s=NOW_S)
    assert transfer.refused_connections == 1


def test_of_two_only_one_gives_way() -> None:
    """The one with the longest way to go, and none that a reader waits for."""
    transfer = split()
    play(transfer, [(part(2, 50, 100), []), (BodyReceived(1, 5), [keep(0, 5)])])
    transfer.handle(ReaderWaits(1, 51), now_s=NOW_S)
    transfer.handle(ReaderWaits(2, 5), now_s=NOW_S)
    assert transfer.handle(Ticked(), now_s=NOW_S, spare_connections=-1) == ()
    transfer.handle(ReaderLeft(1), now_s=NOW_S, spare_connections=-1)
    (cancel,) = transfer.handle(Ticked(), now_s=NOW_S, spare_connections=-1)
    assert cancel == CancelRequest(2)
    assert transfer.handle(Ticked(), now_s=NOW_S, spare_connections=-1) == ()
    assert transfer.handle(Ticked(), now_s=NOW_S, spare_connections=0) == ()
    assert transfer.handle(Ticked(), now_s=NOW_S, spare_connections=1) != ()


def test_ranges_that_are_answered_no_more_leave_one_stream() -> None:
    """Its bytes before what was asked are here already; nobody else is needed."""
    transfer = started(plan(max_connections=3), ranged(1, 0, bare=True))
    play(transfer, [(part(1, 0, 100), [ranged(2, 50), ranged(3, 25, 50)])])
    play(
        transfer,
        [
            (ConnectionFailed(1, LOST), []),
            (whole(2), [CancelRequest(2), ranged(4, 0, 25, bare=True)]),
            (whole(3), [CancelRequest(4)]),
            (BodyReceived(3, 100), [keep(0, 100)]),
        ],
    )
    assert transfer.answers_ranges is False


# What is none of its business.


@pytest.mark.parametrize(
    "seen",
    [
        whole(9),
        BodyReceived(9, 5),
        ResponseEnded(9),
        ConnectionFailed(9, LOST),
        BodyReceived(1, 5),
        stored(0, 5, 7),
    ],
    ids=["opened", "received", "ended", "lost", "received-before-opened", "stored-of-a-later-one"],
)
def test_reports_of_what_it_does_not_know_are_ignored(seen: Event) -> None:
    transfer = started(plan(), fetch(1))
    play(transfer, [(seen, [])])
    assert transfer.stored == ByteRangeSet()
    play(transfer, [(whole(), [])])


def test_a_second_head_is_ignored() -> None:
    play(started(plan(), fetch(1)), [(whole(), []), (whole(tag='"b"'), [])])


def test_after_the_end_only_late_writes_count() -> None:
    transfer = started(plan(policy=RetryPolicy(attempts=1)), fetch(1))
    play(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 60), [keep(0, 60)]),
            (ConnectionFailed(1, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 1)]),
            (stored(0, 60), []),
            (stored(60, 100), []),
            (stored(0, 9, 9), []),
            (RetryTimerFired(), []),
            (ReaderWaits(1, 5), []),
            (ResponseEnded(1), []),
        ],
    )
    assert transfer.stored == byte_ranges((0, 100))
    assert transfer.is_resumable
