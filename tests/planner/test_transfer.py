"""Single decisions of the planner: events and the commands that each must return."""

from collections.abc import Sequence
from typing import Any

import pytest

from vidnb.download.planner.events import (
    BodyReceived,
    CancelRequest,
    Command,
    Complete,
    ConnectionFailed,
    DemandChanged,
    Event,
    GiveUp,
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
from vidnb.download.planner.retry import Failure, FailureKind, GiveUpReason, RetryPolicy
from vidnb.download.planner.transfer import MIN_SEGMENT_BYTES, READ_AHEAD_BYTES, Transfer
from vidnb.download.planner.transfer_state import REVALIDATION_TIMEOUT_S
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
MALFORMED = Failure(FailureKind.PROTOCOL_ERROR, "the head is malformed")
TRUNCATED = Failure(FailureKind.TRUNCATED, "the connection closed before the file was complete")
EMPTY = Failure(FailureKind.TRUNCATED, "the origin sent no bytes")
UNAVAILABLE = Failure(FailureKind.STATUS, "the origin answered 503", 503)
MISSING = Failure(FailureKind.STATUS, "the origin answered 404", 404)

IF_RANGE = ("If-Range", '"a"')


def plan(**options: Any) -> Transfer:
    defaults: dict[str, Any] = {
        "policy": POLICY,
        "max_connections": 1,
        "min_segment_bytes": 10,
        "read_ahead_bytes": 10,
    }
    return Transfer(**{**defaults, **options})


def byte_ranges(*pairs: tuple[int, int]) -> ByteRangeSet:
    return ByteRangeSet(ByteRange(start, stop) for start, stop in pairs)


def resumed(*pairs: tuple[int, int], validators: Validators = A, **options: Any) -> Transfer:
    return plan(validators=validators, stored=byte_ranges(*pairs), **options)


def plain(number: int, start: int = 0, *headers: tuple[str, str]) -> StartRequest:
    return StartRequest(number, start, headers)


def ranged(number: int, start: int, stop: int | None = None, *, bare: bool = False) -> StartRequest:
    """A request with Range, and with If-Range unless `bare`."""
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


def write(start: int, stop: int, chunk_offset: int = 0, generation: int = 0) -> WriteRange:
    return WriteRange(ByteRange(start, stop), chunk_offset, generation)


def stored(start: int, stop: int, generation: int = 0) -> RangeStored:
    return RangeStored(ByteRange(start, stop), generation)


Steps = Sequence[tuple[Event, Sequence[Command]]]


def run_steps(transfer: Transfer, steps: Steps) -> None:
    """Report one event after another; each must return exactly these commands."""
    for number, (event, commands) in enumerate(steps):
        returned = list(transfer.handle(event, now_s=NOW_S, jitter=0.0))
        assert returned == list(commands), f"step {number}: {event}"


def started(transfer: Transfer, *commands: Command) -> Transfer:
    assert list(transfer.start()) == list(commands)
    return transfer


# The first request.


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        pytest.param({}, (), id="plain"),
        pytest.param({"max_connections": 4}, (("Range", "bytes=0-"),), id="several-connections"),
        pytest.param({"published_validators": A}, (("If-None-Match", '"a"'),), id="published"),
        pytest.param(
            {"published_validators": WEAK}, (("If-None-Match", 'W/"a"'),), id="published-weak"
        ),
        pytest.param(
            {"published_validators": DATED}, (("If-Modified-Since", DATE),), id="published-dated"
        ),
        pytest.param({"published_validators": Validators()}, (), id="published-without-validators"),
        pytest.param(
            {"published_validators": A, "max_connections": 4},
            (("If-None-Match", '"a"'), ("Range", "bytes=0-")),
            id="published-several-connections",
        ),
        pytest.param({"validators": A}, (), id="validators-without-bytes"),
        pytest.param({"validators": A, "stored": ByteRangeSet()}, (), id="validators-and-no-bytes"),
        pytest.param({"stored": byte_ranges((0, 50))}, (), id="bytes-without-validators"),
        pytest.param(
            {"validators": WEAK, "stored": byte_ranges((0, 50))},
            (),
            id="bytes-under-a-weak-validator",
        ),
    ],
)
def test_the_first_request(options: dict[str, Any], headers: tuple[tuple[str, str], ...]) -> None:
    transfer = started(plan(**options), plain(1, 0, *headers))
    assert transfer.source.stored == ByteRangeSet()
    assert transfer.source.total_bytes is None
    assert not transfer.source.is_resumable


@pytest.mark.parametrize(
    ("transfer", "first"),
    [
        pytest.param(resumed((0, 50)), ranged(1, 50), id="the-rest"),
        pytest.param(
            resumed((0, 50), published_validators=B), ranged(1, 50), id="a-published-file-is-older"
        ),
        pytest.param(resumed((0, 50), (70, 100)), ranged(1, 50, 70), id="a-gap"),
        pytest.param(resumed((0, 50), (70, 90)), ranged(1, 50, 70), id="the-first-gap"),
        pytest.param(resumed((60, 100)), plain(1, 0), id="the-beginning"),
        pytest.param(
            resumed((60, 100), max_connections=2),
            ranged(1, 0, 60),
            id="the-beginning-several-connections",
        ),
        pytest.param(
            resumed((0, 50), validators=DATED),
            plain(1, 50, ("Range", "bytes=50-"), ("If-Range", DATE)),
            id="dated",
        ),
        pytest.param(
            resumed((0, 50), validators=Validators(A.etag)), ranged(1, 50), id="of-unknown-length"
        ),
        pytest.param(resumed((0, 100)), plain(1, 0, ("If-None-Match", '"a"')), id="everything"),
        pytest.param(
            resumed((0, 100), validators=DATED),
            plain(1, 0, ("If-Modified-Since", DATE)),
            id="everything-dated",
        ),
    ],
)
def test_a_resumed_transfer_requests_the_missing_bytes(
    transfer: Transfer, first: StartRequest
) -> None:
    started(transfer, first)
    assert transfer.source.is_resumable


def test_the_defaults() -> None:
    assert (MIN_SEGMENT_BYTES, READ_AHEAD_BYTES) == (4 * 2**20, 2**20)
    size_bytes = 2 * MIN_SEGMENT_BYTES
    for total_bytes, splits in [(size_bytes, True), (size_bytes - 1, False)]:
        transfer = Transfer(policy=POLICY, max_connections=2)
        transfer.start()
        commands = transfer.handle(part(1, 0, total_bytes, total_bytes), now_s=NOW_S)
        assert bool(commands) is splits


# One request.


def test_a_download_from_start_to_end() -> None:
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (BodyReceived(1, 40), [write(60, 100)]),
            (stored(0, 60), []),
            (ResponseEnded(1), []),
            (stored(60, 100), [Complete(A)]),
        ],
    )
    assert transfer.is_done
    assert transfer.source.total_bytes == 100
    assert (transfer.failures, transfer.restarts, transfer.peak_connections) == (0, 0, 1)


def test_a_transfer_completes_before_its_response_ends() -> None:
    run_steps(
        started(plan(), plain(1)),
        [
            (whole(), []),
            (BodyReceived(1, 100), [write(0, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(A)]),
        ],
    )


def test_the_first_byte_may_be_stored_last() -> None:
    run_steps(
        started(plan(), plain(1)),
        [
            (whole(), []),
            (BodyReceived(1, 1), [write(0, 1)]),
            (BodyReceived(1, 99), [write(1, 100)]),
            (stored(1, 100), []),
            (ResponseEnded(1), []),
            (stored(0, 1), [Complete(A)]),
        ],
    )


def test_bytes_beyond_the_announced_length_are_ignored() -> None:
    run_steps(
        started(plan(), plain(1)),
        [
            (whole(), []),
            (BodyReceived(1, 105), [write(0, 100), CancelRequest(1)]),
            (BodyReceived(1, 5), []),
            (stored(0, 100), [Complete(A)]),
        ],
    )


@pytest.mark.parametrize("is_framed", [True, False])
def test_a_body_without_length_ends_with_its_response(is_framed: bool) -> None:
    transfer = started(plan(), plain(1))
    known = Validators(A.etag, total_bytes=60)
    run_steps(
        transfer,
        [
            (whole(total=None), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (stored(0, 60), []),
            (ResponseEnded(1, is_framed=is_framed), [Complete(known, is_size_verified=is_framed)]),
        ],
    )


def test_a_body_without_length_may_end_before_it_is_stored() -> None:
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (whole(total=None), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (ResponseEnded(1), []),
            (stored(0, 60), [Complete(Validators(A.etag, total_bytes=60))]),
        ],
    )


def test_an_unverified_length_is_reset_by_a_restart() -> None:
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (whole(total=None, tag=None), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (ConnectionFailed(1, LOST), [Restart(1), ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(2)]),
            (whole(2), []),
            (BodyReceived(2, 100), [write(0, 100, generation=1)]),
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
def test_an_empty_file_is_rejected(options: dict[str, Any], head: ResponseStarted) -> None:
    transfer = plan(**options)
    transfer.start()
    commands = transfer.handle(head, now_s=NOW_S, jitter=0.0)
    if head.status == 206:  # this Content-Range contradicts itself
        failure = Failure(
            FailureKind.PROTOCOL_ERROR, "the origin answered 206 without a complete Content-Range"
        )
        assert commands == (CancelRequest(1), ScheduleRetry(0.5, failure))
    else:
        assert commands == (CancelRequest(1), GiveUp(GiveUpReason.EMPTY, EMPTY, 1))


def test_an_empty_body_without_length_is_rejected() -> None:
    run_steps(
        started(plan(), plain(1)),
        [(whole(total=None), []), (ResponseEnded(1), [GiveUp(GiveUpReason.EMPTY, EMPTY, 1)])],
    )


# Failures.


def test_a_truncated_body_is_resumed() -> None:
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (ResponseEnded(1), [ScheduleRetry(0.5, TRUNCATED)]),
            (stored(0, 60), []),
            (RetryTimerFired(), [ranged(2, 60)]),
            (part(2, 60, 100), []),
            (BodyReceived(2, 40), [write(60, 100)]),
            (ResponseEnded(2), []),
            (stored(60, 100), [Complete(A)]),
        ],
    )
    assert (transfer.failures, transfer.restarts) == (1, 0)


def test_a_body_without_length_is_resumed() -> None:
    run_steps(
        started(plan(), plain(1)),
        [
            (whole(total=None), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [ranged(2, 60)]),
            (part(2, 60, 100), []),
            (BodyReceived(2, 40), [write(60, 100)]),
            (stored(0, 60), []),
            (stored(60, 100), [CancelRequest(2), Complete(A)]),
        ],
    )


def test_an_unclean_close_after_the_last_byte_is_no_failure() -> None:
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 100), [write(0, 100)]),
            (ConnectionFailed(1, LOST), []),
            (stored(0, 100), [Complete(A)]),
        ],
    )
    assert transfer.failures == 0


@pytest.mark.parametrize("validators", [WEAK, Validators(total_bytes=100)], ids=["weak", "none"])
def test_without_a_strong_validator_a_failure_restarts_the_file(validators: Validators) -> None:
    tag = None if validators.etag is None else str(validators.etag)
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (whole(tag=tag), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (stored(0, 60), []),
            (ConnectionFailed(1, LOST), [Restart(1), ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(2)]),
            (whole(2, tag=tag), []),
            (BodyReceived(2, 100), [write(0, 100, generation=1)]),
            (stored(60, 100, 0), []),  # a late write of the first generation
            (stored(0, 100, 1), [CancelRequest(2), Complete(validators)]),
        ],
    )
    assert transfer.restarts == 0  # the source has not changed


def test_failures_without_progress_exhaust_the_budget() -> None:
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(2)]),
            (status(2, 503), [CancelRequest(2), ScheduleRetry(1.0, UNAVAILABLE)]),
            (RetryTimerFired(), [plain(3)]),
            (ConnectionFailed(3, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 3)]),
        ],
    )


def test_progress_resets_the_budget() -> None:
    """A retry that delivers only bytes that were received before does not."""
    transfer = started(plan(), plain(1))
    run_steps(
        transfer,
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(2)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(1.0, LOST)]),
            (RetryTimerFired(), [plain(3)]),
            (whole(3, tag=None), []),
            (BodyReceived(3, 10), [write(0, 10)]),
            (ConnectionFailed(3, LOST), [Restart(1), ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(4)]),
            (whole(4, tag=None), []),
            (BodyReceived(4, 10), [write(0, 10, generation=1)]),
            (ConnectionFailed(4, LOST), [Restart(2), ScheduleRetry(1.0, LOST)]),
            (RetryTimerFired(), [plain(5)]),
            (whole(5, tag=None), []),
            (BodyReceived(5, 10), [write(0, 10, generation=2)]),
            (ConnectionFailed(5, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 3)]),
        ],
    )
    assert transfer.failures == 5


def test_resumed_bytes_are_no_progress() -> None:
    run_steps(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [ranged(2, 50)]),
            (part(2, 50, 100), []),
            (BodyReceived(2, 1), [write(50, 51)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
        ],
    )


def test_no_request_is_sent_before_the_retry_timer() -> None:
    run_steps(
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


def test_a_retry_after_beyond_the_limit_ends_the_transfer() -> None:
    failure = Failure(FailureKind.STATUS, "the origin answered 429", 429, 121.0)
    run_steps(
        started(plan(), plain(1)),
        [
            (
                status(1, 429, retry_after="121"),
                [CancelRequest(1), GiveUp(GiveUpReason.FAILED, failure, 1)],
            )
        ],
    )


def test_jitter_is_passed_to_the_policy() -> None:
    transfer = plan()
    transfer.start()
    (wait,) = transfer.handle(ConnectionFailed(1, LOST), now_s=NOW_S, jitter=0.5)
    assert wait == ScheduleRetry(0.75, LOST)


def test_a_permanent_status_ends_the_transfer() -> None:
    run_steps(
        started(plan(), plain(1)),
        [(status(1, 404), [CancelRequest(1), GiveUp(GiveUpReason.FAILED, MISSING, 1)])],
    )


def test_a_content_coding_ends_the_transfer() -> None:
    failure = Failure(
        FailureKind.PROTOCOL_ERROR,
        "the origin sent the file compressed (gzip) although it was asked not to",
    )
    run_steps(
        started(plan(), plain(1)),
        [
            (
                whole(content_encoding="gzip"),
                [CancelRequest(1), GiveUp(GiveUpReason.PROTOCOL_ERROR, failure, 1)],
            )
        ],
    )


def test_a_second_malformed_response_ends_the_transfer() -> None:
    run_steps(
        started(plan(policy=RetryPolicy(base_delay_s=1.0)), plain(1)),
        [
            (ConnectionFailed(1, MALFORMED), [ScheduleRetry(0.5, MALFORMED)]),
            (RetryTimerFired(), [plain(2)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(1.0, LOST)]),
            (RetryTimerFired(), [plain(3)]),
            (ConnectionFailed(3, MALFORMED), [GiveUp(GiveUpReason.PROTOCOL_ERROR, MALFORMED, 3)]),
        ],
    )


def test_progress_resets_the_count_of_malformed_responses() -> None:
    run_steps(
        started(plan(), plain(1)),
        [
            (ConnectionFailed(1, MALFORMED), [ScheduleRetry(0.5, MALFORMED)]),
            (RetryTimerFired(), [plain(2)]),
            (whole(2), []),
            (BodyReceived(2, 5), [write(0, 5)]),
            (ConnectionFailed(2, MALFORMED), [ScheduleRetry(0.5, MALFORMED)]),
        ],
    )


# Versions.


def test_an_unchanged_published_file_is_reused() -> None:
    transfer = started(plan(published_validators=A), plain(1, 0, ("If-None-Match", '"a"')))
    run_steps(transfer, [(status(1, 304), [CancelRequest(1), Complete(A, is_unchanged=True)])])
    assert transfer.is_done


def test_a_changed_published_file_is_downloaded_again() -> None:
    run_steps(
        started(plan(published_validators=A), plain(1, 0, ("If-None-Match", '"a"'))),
        [
            (whole(tag='"b"'), []),
            (BodyReceived(1, 100), [write(0, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(B)]),
        ],
    )


NO_ROUTE = Failure(FailureKind.CONNECT, "no route to the host")
BAD_CERTIFICATE = Failure(FailureKind.REFUSED, "the certificate has expired")
SILENT = Failure(FailureKind.TIMEOUT, "nothing arrived for 10 s")
LATE = {"date": "Sun, 06 Nov 1994 09:49:37 GMT"}


@pytest.mark.parametrize(
    ("published", "head"),
    [
        pytest.param(A, whole(), id="200"),
        pytest.param(A, part(1, 0, 100), id="206"),
        pytest.param(A, whole(total=None), id="200-without-length"),
        pytest.param(
            DATED,
            ResponseStarted(1, 200, {"last-modified": DATE, "content-length": "100"}),
            id="dated",
        ),
    ],
)
def test_a_response_that_names_the_published_version_is_not_read(
    published: Validators, head: ResponseStarted
) -> None:
    """The origin ignored the condition of the request."""
    transfer = plan(published_validators=published, max_connections=4)
    transfer.start()
    run_steps(transfer, [(head, [CancelRequest(1), Complete(published, is_unchanged=True)])])


@pytest.mark.parametrize(
    ("published", "head"),
    [
        pytest.param(A, whole(tag='"b"'), id="another-tag"),
        pytest.param(A, whole(total=99), id="another-length"),
        pytest.param(A, whole(tag='W/"a"'), id="weak-response"),
        pytest.param(WEAK, whole(tag='W/"a"'), id="weak"),
        pytest.param(A, whole(tag=None), id="no-tag"),
        pytest.param(Validators(), whole(), id="nothing-published"),
        pytest.param(
            Validators(None, 784_111_777, total_bytes=100),
            ResponseStarted(1, 200, {"last-modified": DATE, "content-length": "100", **LATE}),
            id="weak-date",
        ),
    ],
)
def test_a_response_that_may_be_another_version_is_read(
    published: Validators, head: ResponseStarted
) -> None:
    transfer = plan(published_validators=published)
    transfer.start()
    run_steps(transfer, [(head, [])])


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (ConnectionFailed(1, LOST), LOST),
        (ConnectionFailed(1, MALFORMED), MALFORMED),
        (ConnectionFailed(1, NO_ROUTE), NO_ROUTE),
        (ConnectionFailed(1, BAD_CERTIFICATE), BAD_CERTIFICATE),
        (ConnectionFailed(1, SILENT), SILENT),
        (status(1, 404), MISSING),
        (status(1, 503), UNAVAILABLE),
        (
            status(1, 429, retry_after="3600"),
            Failure(FailureKind.STATUS, "the origin answered 429", 429, 3600.0),
        ),
        (
            whole(total=None, content_length="x"),
            Failure(FailureKind.PROTOCOL_ERROR, "the origin sent an invalid Content-Length"),
        ),
        (ResponseEnded(1), TRUNCATED),
    ],
)
@pytest.mark.parametrize("published", [A, WEAK, Validators()], ids=["strong", "weak", "none"])
def test_a_failed_revalidation_ends_at_once_with_the_published_file(
    published: Validators, event: Event, failure: Failure
) -> None:
    transfer = plan(published_validators=published, max_connections=4)
    (request,) = transfer.start()
    assert isinstance(request, StartRequest)
    assert transfer.head_timeout_s == REVALIDATION_TIMEOUT_S
    commands = transfer.handle(event, now_s=NOW_S)
    assert commands[-1] == Complete(published, is_unchanged=True, failure=failure)
    assert not any(isinstance(command, ScheduleRetry) for command in commands)
    assert transfer.is_done


def test_a_failed_revalidation_of_a_date_is_no_error_after_several_requests() -> None:
    """A 416 repeats the request; then it fails."""
    transfer = plan(published_validators=A, max_connections=4)
    transfer.start()
    run_steps(
        transfer,
        [
            (status(1, 416), [CancelRequest(1), plain(2, 0, ("If-None-Match", '"a"'))]),
            (
                ConnectionFailed(2, LOST),
                [Complete(A, is_unchanged=True, failure=LOST)],
            ),
        ],
    )


def test_a_download_that_may_be_of_the_same_version_falls_back_on_the_published_file() -> None:
    """Without validators nothing shows that the source is another; the body is retried as ever."""
    published = Validators(total_bytes=100)
    run_steps(
        started(plan(published_validators=published, policy=RetryPolicy(attempts=1)), plain(1)),
        [
            (whole(tag=None), []),
            (BodyReceived(1, 5), [write(0, 5)]),
            (ConnectionFailed(1, LOST), [Complete(published, is_unchanged=True, failure=LOST)]),
        ],
    )


@pytest.mark.parametrize(
    "head",
    [whole(tag='"b"'), whole(tag='W/"b"'), whole(total=99, tag=None), part(1, 0, 101, 101)],
    ids=["tag", "weak-tag", "length", "206"],
)
def test_a_source_that_is_certainly_another_is_not_replaced_by_the_published_file(
    head: ResponseStarted,
) -> None:
    transfer = plan(
        published_validators=A,
        policy=RetryPolicy(attempts=1),
        max_connections=4,
        min_segment_bytes=1000,
    )
    transfer.start()
    transfer.handle(head, now_s=NOW_S)
    assert transfer.head_timeout_s is None
    run_steps(transfer, [(ConnectionFailed(1, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 1)])])


@pytest.mark.parametrize(
    ("head", "reason"),
    [(whole(total=0), GiveUpReason.EMPTY), (whole(total=101), GiveUpReason.TOO_LARGE)],
)
def test_a_source_that_became_empty_or_too_large_is_an_error(
    head: ResponseStarted, reason: GiveUpReason
) -> None:
    transfer = plan(published_validators=A, max_bytes=100)
    transfer.start()
    (*_, last) = transfer.handle(head, now_s=NOW_S)
    assert isinstance(last, GiveUp)
    assert last.reason is reason


def test_without_a_published_file_the_wait_for_a_head_has_no_limit_of_its_own() -> None:
    assert plan().head_timeout_s is None
    assert resumed((0, 50), published_validators=B).head_timeout_s is None


@pytest.mark.parametrize("head", [status(1, 304), whole()], ids=["304", "200"])
def test_a_complete_part_file_needs_one_response(head: ResponseStarted) -> None:
    run_steps(
        started(resumed((0, 100)), plain(1, 0, ("If-None-Match", '"a"'))),
        [(head, [CancelRequest(1), Complete(A)])],
    )


def test_a_complete_part_file_of_an_old_version_is_discarded() -> None:
    run_steps(
        started(resumed((0, 100)), plain(1, 0, ("If-None-Match", '"a"'))),
        [
            (whole(tag='"b"'), [Restart(1)]),
            (BodyReceived(1, 100), [write(0, 100, generation=1)]),
            (stored(0, 100, 1), [CancelRequest(1), Complete(B)]),
        ],
    )


@pytest.mark.parametrize(
    ("head", "commands"),
    [
        pytest.param(part(1, 50, 100), [], id="the-rest"),
        pytest.param(whole(tag='"b"'), [Restart(1)], id="200-of-a-new-version"),
        pytest.param(whole(tag=None), [Restart(1)], id="200-without-validators"),
        pytest.param(whole(total=101), [Restart(1)], id="200-same-tag-another-length"),
        pytest.param(
            part(1, 50, 100, tag='"b"'),
            [CancelRequest(1), Restart(1), plain(2)],
            id="206-of-a-new-version",
        ),
        pytest.param(
            part(1, 50, 100, tag=None),
            [CancelRequest(1), Restart(1), plain(2)],
            id="206-without-etag",
        ),
        pytest.param(
            part(1, 50, 101, 101), [CancelRequest(1), Restart(1), plain(2)], id="total-changed"
        ),
        pytest.param(
            part(1, 0, 100, tag='"b"'), [Restart(1)], id="206-of-a-new-version-from-byte-0"
        ),
        pytest.param(part(1, 0, 100), [], id="more-than-requested"),
        pytest.param(part(1, 50, 60), [], id="less-than-requested"),
        pytest.param(part(1, 60, 100), [CancelRequest(1), plain(2)], id="wrong-start"),
        pytest.param(part(1, 0, 50), [CancelRequest(1), plain(2)], id="ends-before"),
        pytest.param(part(1, 50, 100, "*"), [CancelRequest(1), plain(2)], id="total-unknown"),
        pytest.param(whole(), [CancelRequest(1), ranged(2, 50, bare=True)], id="200-to-if-range"),
        pytest.param(status(1, 416), [CancelRequest(1), plain(2)], id="416"),
        pytest.param(
            status(1, 416, content_range="bytes */100"),
            [CancelRequest(1), plain(2)],
            id="416-of-the-same-length",
        ),
        pytest.param(
            status(1, 416, content_range="bytes */40"),
            [CancelRequest(1), Restart(1), plain(2)],
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
            id="304-to-an-unconditional-request",
        ),
        pytest.param(
            whole(total=0), [CancelRequest(1), GiveUp(GiveUpReason.EMPTY, EMPTY, 1)], id="empty"
        ),
    ],
)
def test_responses_to_a_resumed_request(head: ResponseStarted, commands: list[Command]) -> None:
    transfer = started(resumed((0, 50)), ranged(1, 50))
    run_steps(transfer, [(head, commands)])
    is_changed = Restart(1) in commands
    assert transfer.source.stored == (ByteRangeSet() if is_changed else byte_ranges((0, 50)))
    assert transfer.restarts == int(is_changed)


def test_received_bytes_are_not_written_again() -> None:
    run_steps(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (part(1, 20, 100), []),
            (BodyReceived(1, 20), []),
            (BodyReceived(1, 20), [write(50, 60, chunk_offset=10)]),
            (BodyReceived(1, 40), [write(60, 100)]),
            (stored(50, 100), [CancelRequest(1), Complete(A)]),
        ],
    )


def test_a_short_206_is_continued() -> None:
    run_steps(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (part(1, 50, 60), []),
            (BodyReceived(1, 10), [write(50, 60)]),
            (ResponseEnded(1), [ranged(2, 60)]),
        ],
    )


def test_after_a_206_from_another_byte_the_whole_file_is_requested() -> None:
    """Without a range, and no byte is written twice."""
    transfer = started(resumed((0, 50)), ranged(1, 50))
    run_steps(
        transfer,
        [
            (part(1, 60, 100), [CancelRequest(1), plain(2)]),
            (whole(2), []),
            (BodyReceived(2, 40), []),
            (BodyReceived(2, 60), [write(50, 100, chunk_offset=10)]),
            (stored(50, 100), [CancelRequest(2), Complete(A)]),
        ],
    )
    assert transfer.source.supports_ranges is False


def test_a_200_to_a_resumed_request_is_verified_without_if_range() -> None:
    """A second 200 shows that the origin does not support ranges; its validators must match."""
    run_steps(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (whole(1), [CancelRequest(1), ranged(2, 50, bare=True)]),
            (whole(2), []),
            (BodyReceived(2, 100), [write(50, 100, chunk_offset=50)]),
            (stored(50, 100), [CancelRequest(2), Complete(A)]),
        ],
    )


def test_an_origin_that_fails_on_if_range_gets_none() -> None:
    """The ETag of the 206 then identifies the version."""
    start_over: list[Command] = [CancelRequest(2), Restart(1), plain(3)]
    for tag, commands in (('"a"', []), ('"b"', start_over)):
        run_steps(
            started(resumed((0, 50)), ranged(1, 50)),
            [
                (whole(1), [CancelRequest(1), ranged(2, 50, bare=True)]),
                (part(2, 50, 100, tag=tag), commands),
            ],
        )


def test_a_single_stream_that_fails_starts_from_byte_0() -> None:
    run_steps(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (part(1, 60, 100), [CancelRequest(1), plain(2)]),
            (whole(2), []),
            (BodyReceived(2, 60), [write(50, 60, chunk_offset=50)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(3)]),
            (whole(3, tag='"b"'), [Restart(1)]),
        ],
    )


@pytest.mark.parametrize("is_framed", [True, False])
def test_a_body_without_length_that_ends_before_received_bytes_is_truncated(
    is_framed: bool,
) -> None:
    """Fifty bytes of this version are stored, so it does not end after thirty."""
    run_steps(
        started(resumed((0, 50), validators=Validators(A.etag)), ranged(1, 50)),
        [
            (whole(1, None), [CancelRequest(1), ranged(2, 50, bare=True)]),
            (whole(2, None), []),
            (BodyReceived(2, 30), []),
            (ResponseEnded(2, is_framed=is_framed), [ScheduleRetry(0.5, TRUNCATED)]),
            (RetryTimerFired(), [plain(3)]),
            (whole(3, None), []),
            (BodyReceived(3, 60), [write(50, 60, chunk_offset=50)]),
            (stored(50, 60), []),
            (
                ResponseEnded(3, is_framed=is_framed),
                [Complete(Validators(A.etag, total_bytes=60), is_size_verified=is_framed)],
            ),
        ],
    )


def test_a_length_below_the_received_bytes_means_another_version() -> None:
    run_steps(
        started(resumed((0, 50), validators=Validators(A.etag)), ranged(1, 50)),
        [
            (whole(1, 30), [Restart(1)]),
            (BodyReceived(1, 30), [write(0, 30, generation=1)]),
            (stored(0, 30, 1), [CancelRequest(1), Complete(Validators(A.etag, total_bytes=30))]),
        ],
    )


@pytest.mark.parametrize(
    ("more", "commands"),
    [
        pytest.param({"content_range": "bytes */50"}, None, id="same-length"),
        pytest.param(
            {"content_range": "bytes */50", "etag": '"a"'}, None, id="same-length-and-etag"
        ),
        pytest.param(
            {"content_range": "bytes */50", "etag": '"b"'},
            [CancelRequest(1), Restart(1), plain(2)],
            id="another-etag",
        ),
        pytest.param(
            {"content_range": "bytes */49"},
            [CancelRequest(1), Restart(1), plain(2)],
            id="shorter",
        ),
        pytest.param(
            {"content_range": "bytes */51"}, [CancelRequest(1), plain(2)], id="one-byte-longer"
        ),
        pytest.param({}, [CancelRequest(1), plain(2)], id="no-length"),
    ],
)
def test_a_416_completes_a_file_of_unknown_length(
    more: dict[str, str], commands: list[Command] | None
) -> None:
    """If its length is that of the received bytes."""
    done: list[Command] = [CancelRequest(1), Complete(Validators(A.etag, total_bytes=50))]
    run_steps(
        started(resumed((0, 50), validators=Validators(A.etag)), ranged(1, 50)),
        [(status(1, 416, **more), done if commands is None else commands)],
    )


def test_a_416_does_not_complete_a_file_with_a_gap() -> None:
    transfer = resumed((1, 50), validators=Validators(A.etag), max_connections=2)
    run_steps(
        started(transfer, ranged(1, 0)),
        [(status(1, 416, content_range="bytes */50"), [CancelRequest(1), plain(2)])],
    )


def test_after_a_416_no_range_is_requested() -> None:
    run_steps(
        started(resumed((0, 50)), ranged(1, 50)),
        [
            (status(1, 416), [CancelRequest(1), plain(2)]),
            (whole(2), []),
            (BodyReceived(2, 60), [write(50, 60, 50)]),
            (ConnectionFailed(2, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [plain(3)]),
        ],
    )


def test_a_416_without_if_range_proves_nothing() -> None:
    run_steps(
        started(resumed((0, 50), validators=Validators(A.etag)), ranged(1, 50)),
        [
            (whole(1, None), [CancelRequest(1), ranged(2, 50, bare=True)]),
            (status(2, 416, content_range="bytes */50"), [CancelRequest(2), Restart(1), plain(3)]),
        ],
    )


def test_a_416_to_the_first_byte_is_repeated_without_a_range() -> None:
    run_steps(
        started(plan(max_connections=2), ranged(1, 0, bare=True)),
        [(status(1, 416), [CancelRequest(1), plain(2)])],
    )


def test_a_206_with_the_complete_file_needs_no_range() -> None:
    """Of home-made servers that always answer 206."""
    run_steps(
        started(plan(), plain(1)),
        [
            (part(1, 0, 100), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [ranged(2, 60)]),
            (part(2, 60, 100), []),
            (BodyReceived(2, 40), [write(60, 100)]),
            (stored(0, 100), [CancelRequest(2), Complete(A)]),
        ],
    )


def test_a_206_to_a_request_without_range_is_a_failure() -> None:
    failure = Failure(
        FailureKind.PROTOCOL_ERROR, "the origin answered 206 although no range was asked for"
    )
    run_steps(
        started(plan(), plain(1)),
        [
            (part(1, 0, 99), [CancelRequest(1), ScheduleRetry(0.5, failure)]),
            (RetryTimerFired(), [plain(2)]),
            (part(2, 0, 99), [CancelRequest(2), GiveUp(GiveUpReason.PROTOCOL_ERROR, failure, 2)]),
        ],
    )


CHANGED = Failure(FailureKind.CHANGED, "the file at the origin changed 4 times")


def test_changes_of_the_source_are_bounded() -> None:
    """By the attempts of the policy; bytes of two versions are never joined."""
    transfer = started(plan(), plain(1))
    run_steps(transfer, [(whole(tag='"v0"'), [])])
    for number in range(1, 5):
        resume = StartRequest(
            number + 1, 9, (("Range", "bytes=9-"), ("If-Range", f'"v{number - 1}"'))
        )
        run_steps(
            transfer,
            [
                (BodyReceived(number, 9), [write(0, 9, generation=number - 1)]),
                (ConnectionFailed(number, LOST), [ScheduleRetry(0.5, LOST)]),
                (RetryTimerFired(), [resume]),
            ],
        )
        is_last = number == 4
        end: list[Command] = [CancelRequest(number + 1), GiveUp(GiveUpReason.CHANGED, CHANGED, 1)]
        run_steps(
            transfer,
            [(whole(number + 1, tag=f'"v{number}"'), end if is_last else [Restart(number)])],
        )


def test_changes_that_need_another_request_are_bounded() -> None:
    transfer = started(plan(), plain(1))
    run_steps(transfer, [(whole(tag='"v0"'), [])])
    for number in range(1, 5):
        first, second = 2 * number - 1, 2 * number
        resume = StartRequest(second, 9, (("Range", "bytes=9-"), ("If-Range", f'"v{number - 1}"')))
        end: list[Command] = [CancelRequest(second), GiveUp(GiveUpReason.CHANGED, CHANGED, 1)]
        again: list[Command] = [CancelRequest(second), Restart(number), plain(second + 1)]
        run_steps(
            transfer,
            [
                (BodyReceived(first, 9), [write(0, 9, generation=number - 1)]),
                (ConnectionFailed(first, LOST), [ScheduleRetry(0.5, LOST)]),
                (RetryTimerFired(), [resume]),
                (part(second, 9, 100, tag=f'"v{number}"'), end if number == 4 else again),
                (whole(second + 1, tag=f'"v{number}"'), []),
            ],
        )


def test_bytes_of_a_new_version_are_progress() -> None:
    """Also when fewer bytes are received than of the old version."""
    run_steps(
        started(resumed((0, 90)), ranged(1, 90)),
        [
            (whole(tag='"b"'), [Restart(1)]),
            (BodyReceived(1, 5), [write(0, 5, generation=1)]),
            (ConnectionFailed(1, LOST), [ScheduleRetry(0.5, LOST)]),
            (RetryTimerFired(), [StartRequest(2, 5, (("Range", "bytes=5-"), ("If-Range", '"b"')))]),
            (part(2, 5, 100, tag='"b"'), []),
            (BodyReceived(2, 5), [write(5, 10, generation=1)]),
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
            resumed((0, 50), validators=Validators(A.etag), max_bytes=99),
            part(1, 50, 100),
            "100 bytes",
            id="resumed",
        ),
    ],
)
def test_a_length_above_max_bytes_is_rejected(
    transfer: Transfer, head: ResponseStarted, size: str
) -> None:
    transfer.start()
    failure = Failure(FailureKind.REFUSED, f"the file has {size}, and max_bytes allows 99")
    run_steps(transfer, [(head, [CancelRequest(1), GiveUp(GiveUpReason.TOO_LARGE, failure, 1)])])


def test_a_body_without_length_is_rejected_at_max_bytes() -> None:
    failure = Failure(FailureKind.REFUSED, "it is longer than the 99 bytes that max_bytes allows")
    run_steps(
        started(plan(max_bytes=99), plain(1)),
        [
            (whole(total=None), []),
            (BodyReceived(1, 99), [write(0, 99)]),
            (BodyReceived(1, 1), [CancelRequest(1), GiveUp(GiveUpReason.TOO_LARGE, failure, 1)]),
        ],
    )


def test_a_known_length_above_max_bytes_sends_no_request() -> None:
    failure = Failure(FailureKind.REFUSED, "the file has 100 bytes, and max_bytes allows 99")
    started(resumed((0, 50), max_bytes=99), GiveUp(GiveUpReason.TOO_LARGE, failure, 1))


def test_a_length_of_max_bytes_is_accepted() -> None:
    started(resumed((0, 50), max_bytes=100), ranged(1, 50))
    run_steps(
        started(plan(max_bytes=100), plain(1)),
        [(whole(), []), (BodyReceived(1, 100), [write(0, 100)])],
    )


# Several connections.


def split(**options: Any) -> Transfer:
    """Two requests, from byte 0 and byte 50; neither has delivered a byte."""
    transfer = started(plan(max_connections=2, **options), ranged(1, 0, bare=True))
    run_steps(transfer, [(part(1, 0, 100), [ranged(2, 50)])])
    return transfer


def test_proved_range_support_opens_another_request() -> None:
    transfer = split()
    assert transfer.source.supports_ranges is True
    run_steps(
        transfer,
        [
            (part(2, 50, 100), []),
            (BodyReceived(1, 30), [write(0, 30)]),
            (BodyReceived(2, 50), [write(50, 100)]),
            (ResponseEnded(2), [ranged(3, 40, 50)]),
            (BodyReceived(1, 20), [write(30, 40), CancelRequest(1)]),
            (part(3, 40, 50), []),
            (BodyReceived(3, 10), [write(40, 50)]),
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
def test_without_proof_no_other_request_is_opened(head: ResponseStarted) -> None:
    run_steps(
        started(plan(max_connections=4), ranged(1, 0, bare=True)),
        [(head, []), (BodyReceived(1, 1), [write(0, 1)])],
    )


def test_max_connections_are_opened() -> None:
    transfer = started(plan(max_connections=4), ranged(1, 0, bare=True))
    run_steps(transfer, [(part(1, 0, 100), [ranged(2, 50), ranged(3, 25, 50), ranged(4, 75)])])
    assert transfer.peak_connections == 4


def test_each_gap_gets_a_request() -> None:
    transfer = started(resumed((20, 60), max_connections=2), ranged(1, 0, 20))
    run_steps(transfer, [(part(1, 0, 20), [ranged(2, 60)])])


SECOND_FAILURES: list[Any] = [
    pytest.param(status(2, 403), id="403"),
    pytest.param(status(2, 503), id="503"),
    pytest.param(status(2, 429, retry_after="999"), id="429"),
    pytest.param(ConnectionFailed(2, LOST), id="lost"),
    pytest.param(part(2, 0, 50), id="wrong-start"),
    pytest.param(part(2, 50, 100, "*"), id="total-unknown"),
    pytest.param(status(2, 416), id="416"),
    pytest.param(whole(2, content_encoding="gzip"), id="compressed"),
]


@pytest.mark.parametrize("failure", SECOND_FAILURES)
@pytest.mark.parametrize("received", [0, 10])
def test_the_first_request_continues_when_a_second_one_fails(failure: Event, received: int) -> None:
    transfer = split()
    if received:
        run_steps(transfer, [(BodyReceived(1, received), [write(0, received)])])
    cancelled: list[Command] = [] if isinstance(failure, ConnectionFailed) else [CancelRequest(2)]
    run_steps(
        transfer,
        [
            (failure, cancelled),
            (BodyReceived(1, 100 - received), [write(received, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(A)]),
        ],
    )
    assert transfer.restarts == 0


@pytest.mark.parametrize("received", [0, 10])
def test_the_first_request_continues_when_the_range_of_a_second_one_is_ignored(
    received: int,
) -> None:
    transfer = split()
    if received:
        run_steps(transfer, [(BodyReceived(1, received), [write(0, received)])])
    middle = 55 if received else 50
    run_steps(
        transfer,
        [
            (whole(2), [CancelRequest(2), ranged(3, middle, bare=True)]),
            (whole(3), [CancelRequest(3)]),
            (BodyReceived(1, 100 - received), [write(received, 100)]),
            (stored(0, 100), [CancelRequest(1), Complete(A)]),
        ],
    )


def test_a_failed_request_that_delivered_bytes_is_repeated() -> None:
    transfer = split()
    run_steps(
        transfer,
        [
            (part(2, 50, 100), []),
            (BodyReceived(2, 10), [write(50, 60)]),
            (ConnectionFailed(2, LOST), [ranged(3, 60)]),
        ],
    )
    assert transfer.failures == 1


def test_the_second_request_continues_when_the_first_one_fails() -> None:
    """The failed one delivered nothing, so it is not repeated before the second one has ended."""
    run_steps(
        split(),
        [
            (part(2, 50, 100), []),
            (ConnectionFailed(1, LOST), []),
            (BodyReceived(2, 50), [write(50, 100)]),
            (ResponseEnded(2), [plain(3)]),
        ],
    )


def test_a_request_that_reaches_another_one_is_cancelled() -> None:
    run_steps(
        split(),
        [
            (part(2, 50, 100), []),
            (BodyReceived(2, 30), [write(50, 80)]),
            (BodyReceived(1, 60), [write(0, 50), CancelRequest(1), ranged(3, 90)]),
        ],
    )


@pytest.mark.parametrize(
    ("head", "commands"),
    [
        pytest.param(
            part(2, 50, 100, tag='"b"'),
            [CancelRequest(1), CancelRequest(2), Restart(1), plain(3)],
            id="206",
        ),
        pytest.param(whole(2, tag='"b"'), [CancelRequest(1), Restart(1)], id="200"),
        pytest.param(
            part(2, 50, 101, 101),
            [CancelRequest(1), CancelRequest(2), Restart(1), plain(3)],
            id="total",
        ),
    ],
)
def test_a_change_between_segments_restarts_with_one_request(
    head: ResponseStarted, commands: list[Command]
) -> None:
    transfer = split()
    run_steps(transfer, [(BodyReceived(1, 10), [write(0, 10)]), (head, commands)])
    assert transfer.source.stored == ByteRangeSet()
    assert transfer._scheduler.limit == 1


# Readers.


def test_a_waiting_reader_gets_the_only_connection() -> None:
    """The sequential request is cancelled, and repeated when the reader is served."""
    transfer = started(resumed((0, 10)), ranged(1, 10))
    run_steps(
        transfer,
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 70), [CancelRequest(1), ranged(2, 70)]),
            (part(2, 70, 100), []),
            (BodyReceived(2, 30), [write(70, 100)]),
            (ResponseEnded(2), [ranged(3, 10, 70)]),
            (ReaderLeft(1), []),
        ],
    )


def test_a_waiting_reader_gets_another_connection_if_allowed() -> None:
    transfer = started(resumed((0, 10), max_connections=3, min_segment_bytes=100), ranged(1, 10))
    run_steps(
        transfer,
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 70), [ranged(2, 70)]),
            (ReaderWaits(2, 40), [ranged(3, 40, 70)]),
        ],
    )


@pytest.mark.parametrize(
    ("offset", "needs_request"),
    [
        pytest.param(5, False, id="is-received"),
        pytest.param(10, False, id="arrives-next"),
        pytest.param(19, False, id="arrives-soon"),
        pytest.param(20, True, id="arrives-late"),
        pytest.param(99, True, id="last"),
        pytest.param(100, False, id="beyond-the-end"),
    ],
)
def test_when_a_reader_needs_a_request(offset: int, needs_request: bool) -> None:
    transfer = started(resumed((0, 10)), ranged(1, 10))
    commands: list[Command] = [CancelRequest(1), ranged(2, offset)] if needs_request else []
    run_steps(transfer, [(part(1, 10, 100), []), (ReaderWaits(1, offset), commands)])


def test_a_reader_that_seeks_gets_another_request() -> None:
    run_steps(
        started(resumed((0, 10)), ranged(1, 10)),
        [
            (part(1, 10, 100), []),
            (ReaderWaits(1, 50), [CancelRequest(1), ranged(2, 50)]),
            (part(2, 50, 100), []),
            (ReaderWaits(1, 55), []),
            (ReaderWaits(1, 90), [CancelRequest(2), ranged(3, 90)]),
        ],
    )


def test_a_request_for_one_reader_is_not_cancelled_for_another() -> None:
    run_steps(
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
def test_readers_wait_for_a_single_stream(head: ResponseStarted) -> None:
    run_steps(started(plan(), plain(1)), [(head, []), (ReaderWaits(1, 90), [])])


def test_other_responses_are_not_read_while_a_reader_waits() -> None:
    """Until a second after its last wait, or until it leaves."""
    transfer = started(
        resumed((0, 10), max_connections=3, min_segment_bytes=100, read_ahead_bytes=10),
        ranged(1, 10),
    )
    now_s = 1000.0

    def report(event: Event, after_s: float = 0.0) -> tuple[bool, bool]:
        nonlocal now_s
        now_s += after_s
        transfer.handle(event, now_s=now_s)
        return transfer.should_read(1), transfer.should_read(2)

    both, only_second = (True, True), (False, True)
    assert report(part(1, 10, 100)) == both
    assert report(ReaderWaits(1, 70)) == both  # its response has not started
    assert report(part(2, 70, 100)) == only_second
    assert report(BodyReceived(2, 5), 0.5) == only_second
    assert report(ReaderWaits(1, 75), 0.1) == only_second
    assert report(Ticked(), 0.99) == only_second
    assert report(Ticked(), 0.02) == both
    assert report(ReaderWaits(1, 76)) == only_second
    assert report(ReaderWaits(2, 12)) == both  # each serves a reader
    assert report(ReaderLeft(2)) == only_second
    assert report(ReaderWaits(1, 5)) == both  # received before; no response serves it
    assert report(ReaderWaits(1, 76)) == only_second
    assert report(ReaderLeft(1)) == both
    assert transfer.should_read(7)


@pytest.mark.parametrize("waits", [True, False])
def test_no_concurrency_probe_runs_while_a_reader_waits(waits: bool) -> None:
    """Nor within a second after its last wait."""
    transfer = Transfer(policy=RetryPolicy())
    transfer.start()
    now_s = 1000.0
    size_bytes = 10**9
    head = {"content-length": str(size_bytes), "etag": '"v"', "accept-ranges": "bytes"}
    transfer.handle(ResponseStarted(1, 200, head), now_s=now_s)

    def count_requests(seconds: float, *, waits: bool) -> int:
        nonlocal now_s
        opened = 0
        for _ in range(round(seconds * 100)):
            now_s += 0.01
            events: list[Event] = [BodyReceived(1, 20_000)]
            if waits:
                events.append(ReaderWaits(1, transfer._segments.received.stop + 20_000))
            for event in events:
                opened += sum(
                    isinstance(c, StartRequest) for c in transfer.handle(event, now_s=now_s)
                )
        return opened

    assert count_requests(3, waits=waits) == (0 if waits else 1)
    if waits:
        assert count_requests(0.9, waits=False) == 0
        assert count_requests(2, waits=False) == 1


def test_a_demand_for_the_whole_file_requests_the_rest() -> None:
    transfer = started(resumed((0, 10), is_whole_wanted=False), ranged(1, 10, 12))
    assert not transfer.is_whole_wanted
    run_steps(
        transfer,
        [
            (part(1, 10, 12), []),
            (DemandChanged(is_whole=True), []),
            (BodyReceived(1, 2), [write(10, 12)]),
            (ResponseEnded(1), [ranged(2, 12)]),
        ],
    )
    assert transfer.is_whole_wanted


# Adaptive.


@pytest.mark.parametrize(
    ("transfer", "first"),
    [
        pytest.param(plan(max_connections=None), plain(1), id="plain"),
        pytest.param(resumed((0, 50), max_connections=None), ranged(1, 50), id="the-rest"),
        pytest.param(
            resumed((60, 100), max_connections=None), ranged(1, 0, 60), id="the-beginning"
        ),
        pytest.param(
            resumed((0, 100), max_connections=None),
            plain(1, 0, ("If-None-Match", '"a"')),
            id="everything",
        ),
        pytest.param(plan(max_connections=4, host_limit=1), plain(1), id="host-limit-1"),
        pytest.param(
            resumed((60, 100), max_connections=None, host_limit=1),
            plain(1),
            id="the-beginning-host-limit-1",
        ),
    ],
)
def test_the_first_request_of_an_adaptive_transfer(transfer: Transfer, first: StartRequest) -> None:
    started(transfer, first)


@pytest.mark.parametrize(
    ("head", "is_probed"),
    [
        pytest.param(whole(), True, id="strong-validator-and-length"),
        pytest.param(whole(accept_ranges="bytes"), True, id="accept-ranges-bytes"),
        pytest.param(whole(accept_ranges=" None "), False, id="accept-ranges-none"),
        pytest.param(whole(tag=None), False, id="no-validator"),
        pytest.param(whole(tag='W/"a"'), False, id="weak-validator"),
        pytest.param(whole(total=None), False, id="no-length"),
        pytest.param(whole(total=19), False, id="small"),
    ],
)
def test_when_range_support_is_probed(head: ResponseStarted, is_probed: bool) -> None:
    """With one more request, after a measurement."""
    transfer = started(plan(max_connections=None), plain(1))
    assert transfer.handle(head, now_s=NOW_S) == ()
    transfer.handle(BodyReceived(1, 1), now_s=NOW_S)
    returned = [
        transfer.handle(Ticked(), now_s=NOW_S + tick / 20, available_connections=available)
        for tick, available in [(0, 5)] + [(tick, 0) for tick in range(1, 10)] + [(10, 5)]
    ]
    assert returned == [()] * 10 + [(ranged(2, 50),) if is_probed else ()]


def test_an_adaptive_transfer_does_not_repeat_a_broken_second_request_at_once() -> None:
    transfer = started(plan(max_connections=None), plain(1))
    for event in (whole(), BodyReceived(1, 1), Ticked()):
        transfer.handle(event, now_s=NOW_S)
    assert transfer.handle(Ticked(), now_s=NOW_S + 0.5) == (ranged(2, 50),)
    assert transfer.handle(ConnectionFailed(2, LOST), now_s=NOW_S + 0.6) == ()
    assert transfer.handle(Ticked(), now_s=NOW_S + 1.5) == ()
    assert (transfer._scheduler.limit, transfer.observed_host_limit) == (16, None)


@pytest.mark.parametrize(
    ("event", "limit"),
    [
        (status(2, 403), 1),
        (status(2, 503), 1),
        (status(2, 429, retry_after="999"), 1),
        (status(2, 416), 1),
        (ConnectionFailed(2, Failure(FailureKind.CONNECT, "the connection was refused")), 1),
        (part(2, 0, 50), 1),
        (ConnectionFailed(2, LOST), None),
        (ConnectionFailed(2, MALFORMED), None),
        (whole(2, content_encoding="gzip"), None),
    ],
)
def test_the_observed_host_limit(event: Event, limit: int | None) -> None:
    transfer = split()
    assert transfer.observed_host_limit is None
    transfer.handle(event, now_s=NOW_S)
    assert transfer.observed_host_limit == limit


def test_an_ignored_range_counts_as_refused() -> None:
    transfer = split()
    transfer.handle(BodyReceived(1, 1), now_s=NOW_S)
    transfer.handle(whole(2), now_s=NOW_S)
    assert transfer.observed_host_limit is None
    transfer.handle(whole(3), now_s=NOW_S)
    assert transfer.observed_host_limit == 1


def test_one_of_two_connections_is_released() -> None:
    """The one with the most remaining bytes, and none that a reader waits for."""
    transfer = split()
    run_steps(transfer, [(part(2, 50, 100), []), (BodyReceived(1, 5), [write(0, 5)])])
    transfer.handle(ReaderWaits(1, 51), now_s=NOW_S)
    transfer.handle(ReaderWaits(2, 5), now_s=NOW_S)
    assert transfer.handle(Ticked(), now_s=NOW_S, available_connections=-1) == ()
    transfer.handle(ReaderLeft(1), now_s=NOW_S, available_connections=-1)
    (cancel,) = transfer.handle(Ticked(), now_s=NOW_S, available_connections=-1)
    assert cancel == CancelRequest(2)
    assert transfer.handle(Ticked(), now_s=NOW_S, available_connections=-1) == ()
    assert transfer.handle(Ticked(), now_s=NOW_S, available_connections=0) == ()
    assert transfer.handle(Ticked(), now_s=NOW_S, available_connections=1) != ()


def test_ignored_ranges_leave_a_single_stream() -> None:
    """It delivers the whole file; the other requests are cancelled."""
    transfer = started(plan(max_connections=3), ranged(1, 0, bare=True))
    run_steps(transfer, [(part(1, 0, 100), [ranged(2, 50), ranged(3, 25, 50)])])
    run_steps(
        transfer,
        [
            (ConnectionFailed(1, LOST), []),
            (whole(2), [CancelRequest(2), ranged(4, 0, 25, bare=True)]),
            (whole(3), [CancelRequest(4)]),
            (BodyReceived(3, 100), [write(0, 100)]),
        ],
    )
    assert transfer.source.supports_ranges is False


# Ignored events.


@pytest.mark.parametrize(
    "event",
    [
        whole(9),
        BodyReceived(9, 5),
        ResponseEnded(9),
        ConnectionFailed(9, LOST),
        BodyReceived(1, 5),
        stored(0, 5, 7),
    ],
    ids=["head", "body", "end", "failure", "body-before-head", "stored-of-a-later-generation"],
)
def test_events_of_unknown_requests_are_ignored(event: Event) -> None:
    transfer = started(plan(), plain(1))
    run_steps(transfer, [(event, [])])
    assert transfer.source.stored == ByteRangeSet()
    run_steps(transfer, [(whole(), [])])


def test_a_second_head_is_ignored() -> None:
    run_steps(started(plan(), plain(1)), [(whole(), []), (whole(tag='"b"'), [])])


def test_after_the_end_only_late_writes_have_an_effect() -> None:
    transfer = started(plan(policy=RetryPolicy(attempts=1)), plain(1))
    run_steps(
        transfer,
        [
            (whole(), []),
            (BodyReceived(1, 60), [write(0, 60)]),
            (ConnectionFailed(1, LOST), [GiveUp(GiveUpReason.FAILED, LOST, 1)]),
            (stored(0, 60), []),
            (stored(60, 100), []),
            (stored(0, 9, 9), []),
            (RetryTimerFired(), []),
            (ReaderWaits(1, 5), []),
            (ResponseEnded(1), []),
        ],
    )
    assert transfer.source.stored == byte_ranges((0, 100))
    assert transfer.source.is_resumable
