//! Limits how long a client may take over each request of a connection: for its head, for its body,
//! and between two.
//!
//! actix limits the first head only. Here each connection has a clock: what is read starts it, the
//! outermost middleware reports when a head is complete, when a body is, and when an answer is; and
//! the connection ends when the time is up. A stream that leaves actix leaves its clock behind.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage as _,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::StatusCode,
    middleware::Next,
};
use bytes::Bytes;
use futures_util::Stream;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    half_close::{EndMeaning, HalfClose},
    one_at_a_time::{BodyPart, OneAtATime},
    split_body::SplitBody,
    upgrade,
};
use crate::limits::read_in_progress;

/// Added to the time of a body, so that the handler that waits for it can answer first.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// The most that any phase may take on a connection that others wait for.
const MOMENT: Duration = Duration::from_secs(1);

/// What is written to a client whose next request does not arrive in time.
pub const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// How long each phase of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// For a head, from its first byte; the first one of a connection from its beginning.
    pub head: Duration,
    /// For a body, from the end of its head.
    pub body: Duration,
    /// Between an answer and the next head.
    pub idle: Duration,
}

impl TimeLimits {
    /// Returns the limits of a connection that is served for a moment only.
    #[must_use]
    pub fn of_a_moment(self) -> Self {
        Self {
            head: self.head.min(MOMENT),
            body: self.body.min(MOMENT),
            idle: self.idle.min(MOMENT),
        }
    }
}

/// The clock of one connection. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct RequestClock(Rc<ClockState>);

#[derive(Debug)]
struct ClockState {
    limits: TimeLimits,
    phase: Cell<Phase>,
    requests: OneAtATime,
    half_close: HalfClose,
    /// Whether all of the body that has arrived is read, or nothing reads it.
    body_is_used_up: Cell<bool>,
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The rest of a head.
    Head(Instant),
    /// The rest of a body.
    Body(Instant),
    /// The rest of a body that is answered already.
    Rest(Instant),
    /// This server. The system disconnects a client that does not take what is sent
    /// (`stream.stall_s`).
    Answer,
    /// The answer is complete but not all of it is written.
    Flush(AfterFlush),
    /// Waiting for the next request.
    Idle(Instant),
    /// A WebSocket whose close frame is not written yet.
    Closing(AfterFlush),
    /// A WebSocket that waits for its client's close frame.
    Closed,
    /// The connection ends now.
    Over,
}

/// What a connection waits for once an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFlush {
    /// For the next request.
    Request,
    /// The rest of the body, until then.
    Body(Instant),
    /// The client's close frame.
    CloseFrame,
    /// For nothing: the connection ends.
    End,
}

impl RequestClock {
    /// Starts the clock of a connection that has just been accepted.
    #[must_use]
    pub fn new(limits: TimeLimits) -> Self {
        Self(Rc::new(ClockState {
            limits,
            phase: Cell::new(Phase::Head(Instant::now() + limits.head)),
            requests: OneAtATime::default(),
            half_close: HalfClose::default(),
            body_is_used_up: Cell::new(false),
        }))
    }

    /// Returns what actix may read, and whether that is anything now.
    pub fn requests(&self) -> (&OneAtATime, bool) {
        let is_answered = matches!(
            self.0.phase.get(),
            Phase::Head(_) | Phase::Idle(_) | Phase::Rest(_)
        );
        let requests = &self.0.requests;
        (requests, requests.may_take_next(is_answered))
    }

    /// Notes that bytes have arrived.
    pub fn read(&self) {
        match self.0.phase.get() {
            Phase::Idle(_) => self
                .0
                .phase
                .set(Phase::Head(Instant::now() + self.0.limits.head)),
            Phase::Closed => self.0.phase.set(Phase::Over),
            _ => {}
        }
    }

    /// Notes that all that there was to write is written.
    pub fn flushed(&self) {
        if let Phase::Flush(next) = self.0.phase.get() {
            self.0.phase.set(match next {
                AfterFlush::Request => Phase::Idle(Instant::now() + self.0.limits.idle),
                AfterFlush::Body(until) => Phase::Rest(until),
                AfterFlush::CloseFrame => Phase::Closed,
                AfterFlush::End => Phase::Over,
            });
            self.0.requests.wake();
        }
    }

    /// Notes that a WebSocket ends. The connection ends with its close frame, or, if the client has
    /// not closed it, with what the client sends next; actix alone would wait for the client to
    /// hang up.
    pub fn close(&self, client_closed: bool) {
        let next = if client_closed {
            AfterFlush::End
        } else {
            AfterFlush::CloseFrame
        };
        self.0.phase.set(Phase::Closing(next));
    }

    /// Notes that the client has closed its side. Returns whether actix may see that now.
    pub fn client_ended(&self) -> bool {
        self.0.half_close.record_end(self.is_answering())
    }

    /// Lets the connection end as soon as the client closes its side, as long as the guard lives.
    #[must_use]
    pub fn end_with_client(&self) -> EndsWithClient {
        self.0.half_close.set_meaning(EndMeaning::Gone);
        EndsWithClient(self.clone())
    }

    /// Returns whether something is answered, or read for an answer, that actix could lose by the
    /// end of the client's side.
    fn is_answering(&self) -> bool {
        match self.0.phase.get() {
            Phase::Answer | Phase::Flush(_) => true,
            Phase::Body(_) => !self.0.body_is_used_up.get(),
            Phase::Head(_)
            | Phase::Rest(_)
            | Phase::Idle(_)
            | Phase::Closing(_)
            | Phase::Closed
            | Phase::Over => false,
        }
    }

    /// Returns whether the connection waits for a head, which is what is overdue then.
    #[must_use]
    pub fn waits_for_head(&self) -> bool {
        matches!(self.0.phase.get(), Phase::Head(_))
    }

    fn head_is_complete(&self, body: Option<BodyPart>) {
        let until = Instant::now() + self.0.limits.body + ANSWER_GRACE;
        self.0.body_is_used_up.set(false);
        self.0.half_close.set_meaning(EndMeaning::WaitsForAnswer);
        self.0
            .phase
            .set(body.map_or(Phase::Answer, |_| Phase::Body(until)));
        self.0.requests.head_is_read(body);
    }

    fn body_is_complete(&self) {
        if let Phase::Body(_) = self.0.phase.get() {
            self.0.phase.set(Phase::Answer);
        }
    }

    fn answer_is_complete(&self) {
        self.0.phase.set(Phase::Flush(match self.0.phase.get() {
            Phase::Body(until) => AfterFlush::Body(until),
            Phase::Closing(next) => next,
            _ => AfterFlush::Request,
        }));
    }

    fn is_over(&self) -> bool {
        self.0.phase.get() == Phase::Over || self.0.half_close.is_gone(self.is_answering())
    }

    fn deadline(&self) -> Option<Instant> {
        match self.0.phase.get() {
            Phase::Head(until) | Phase::Body(until) | Phase::Rest(until) | Phase::Idle(until) => {
                Some(until)
            }
            Phase::Answer | Phase::Flush(_) | Phase::Closing(_) | Phase::Closed | Phase::Over => {
                None
            }
        }
    }
}

/// Ends a connection with its client's side, until it is dropped.
#[derive(Debug)]
pub struct EndsWithClient(RequestClock);

impl Drop for EndsWithClient {
    fn drop(&mut self) {
        let half_close = &self.0.0.half_close;
        half_close.set_meaning(EndMeaning::WaitsForAnswer);
    }
}

pin_project! {
    /// A connection that is served as long as its client keeps to the limits; `None` when it did
    /// not. It is written by hand instead of as an `async` block, which would reserve memory for
    /// what is served more than once.
    pub struct Limited<F> {
        #[pin]
        serving: F,
        #[pin]
        timer: Sleep,
        clock: RequestClock,
    }
}

impl<F> Limited<F> {
    /// Limits `serving`.
    #[must_use]
    pub fn new(serving: F, clock: RequestClock) -> Self {
        Self {
            serving,
            timer: sleep_until(Instant::now()),
            clock,
        }
    }
}

impl<F: Future> Future for Limited<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut served = this.serving.as_mut().poll(cx);
        let state = &this.clock.0;
        if served.is_pending() && state.half_close.is_due(this.clock.is_answering()) {
            // Now it may read the end of the client's side, and nothing else would wake it for
            // that.
            served = this.serving.as_mut().poll(cx);
        }
        if let Poll::Ready(served) = served {
            return Poll::Ready(Some(served));
        }
        if this.clock.is_over() {
            return Poll::Ready(None);
        }
        while let Some(deadline) = this.clock.deadline() {
            // It may fire too early, never too late: most requests end long before, and each reset
            // costs.
            if this.timer.deadline() > deadline {
                this.timer.as_mut().reset(deadline);
            }
            ready!(this.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(None);
            }
            this.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Notifies the connection's clock of how far each request is. As middleware it must be the
/// outermost: it sees a request before all else, and its answer after all else.
///
/// # Errors
/// Those of the application.
pub async fn notify_clock<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody<Error = B::Error>>, Error> {
    let clock = request.conn_data::<RequestClock>().cloned();
    let answering = Answering(clock.clone());
    if let Some(clock) = clock {
        let body = BodyPart::of(&request);
        clock.head_is_complete(body);
        if body.is_some() {
            poll_fn(|_| clock.0.requests.poll_body()).await;
            let payload = TimedBody {
                payload: request.take_payload(),
                clock,
            };
            request.set_payload(Payload::Stream {
                payload: Box::pin(payload),
            });
        }
    }
    let may_leave_http = upgrade::may_leave_http(request.head());
    // If it fails, what actix answers then is small and is complete at once.
    let (response, read) = read_in_progress::in_request(next.call(request)).await;
    let mut response = response?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if may_leave_http {
            upgrade::close_after(response.response_mut().head_mut());
        }
    } else if let Some(clock) = &answering.0 {
        clock.body_is_complete();
        clock.0.half_close.set_meaning(EndMeaning::EndOfInput);
        clock.0.requests.head_is_read(Some(BodyPart::Endless));
    }
    Ok(response.map_body(|_, body| SplitBody::new(body, (answering, read))))
}

/// Notifies the clock that an answer is complete, when it is dropped.
struct Answering(Option<RequestClock>);

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(clock) = &self.0 {
            clock.answer_is_complete();
        }
    }
}

/// A request's body; notifies the clock when it is complete.
struct TimedBody {
    payload: Payload,
    clock: RequestClock,
}

impl Stream for TimedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.payload).poll_next(cx);
        self.clock.0.body_is_used_up.set(next.is_pending());
        if let Poll::Ready(None) = next {
            self.clock.body_is_complete();
        }
        next
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        self.clock.0.body_is_used_up.set(true);
    }
}
