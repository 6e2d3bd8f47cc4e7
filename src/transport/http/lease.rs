use std::sync::{Arc, PoisonError};

use super::super::abort::aborted;
use super::super::exchange::{Phase, Timeouts};
use super::super::{HttpRequest, TransportError};
use super::{Connection, HttpTransport};
use crate::protocol::request::Response;

/// A connection that is in use. Its place in the pool is given back however the use ends, also by a
/// panic.
pub(super) struct Lease<'a> {
    transport: &'a HttpTransport,
    origin: &'a str,
    connection: Option<Connection>,
}

impl<'a> Lease<'a> {
    pub(super) fn new(
        transport: &'a HttpTransport,
        origin: &'a str,
        connection: Connection,
    ) -> Lease<'a> {
        Lease {
            transport,
            origin,
            connection: Some(connection),
        }
    }

    pub(super) fn run(
        &mut self,
        request: &mut HttpRequest<'_>,
        peer: String,
    ) -> Result<Response, TransportError> {
        let Some(connection) = &self.connection else {
            return Err(TransportError::new(aborted(), true, false));
        };
        let exchange = &connection.exchange;
        let timeouts = Timeouts::new(
            request.connect_timeout,
            request.stall_timeout,
            request.response_timeout,
        );
        exchange.start(timeouts, peer);
        let in_flight = &self.transport.in_flight;
        in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(exchange));
        // A shutdown that came before did not interrupt it.
        let result = match self.transport.abort.check() {
            Ok(()) => connection.run(request),
            Err(failure) => Err(failure),
        };
        result.map_err(|failure| {
            let phase = exchange.phase();
            let was_reused = exchange.is_reused() && phase != Phase::Receiving;
            TransportError::new(failure, phase == Phase::Connecting, was_reused)
        })
    }

    /// Ends the exchange. The connection is kept for the next one if it is still open.
    pub(super) fn keep(mut self) {
        self.unregister();
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.exchange.is_connected() && !connection.exchange.is_body_abandoned() {
            self.transport.pool.checkin(self.origin, connection);
        } else {
            drop(connection);
            self.transport.pool.discard();
        }
    }

    /// Returns true if another connection will become free.
    pub(super) fn starve(&mut self) -> bool {
        self.unregister();
        drop(self.connection.take());
        self.transport.pool.starve()
    }

    fn unregister(&self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let in_flight = &self.transport.in_flight;
        let mut in_flight = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.retain(|exchange| !Arc::ptr_eq(exchange, &connection.exchange));
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.unregister();
        if let Some(connection) = self.connection.take() {
            drop(connection);
            self.transport.pool.discard();
        }
    }
}
