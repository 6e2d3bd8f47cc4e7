//! Makes connections: name lookup, TCP, the proxy's tunnel, TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::super::connect::connect;
use super::super::exchange::Exchange;
use super::super::lookup::NameCache;
use super::super::proxy::Proxy;
use super::super::socket::{self, Socket};
use super::super::tunnel;
use super::response::ResponseStream;
use super::stream::SocketStream;
use super::tls::TlsLayer;
use crate::error::{FailureKind, TransportFailure};
use crate::{Error, Result};

/// How connections are made. Shared by all transports of a client.
#[derive(Debug)]
pub(super) struct Route {
    names: NameCache,
    proxy: Option<(Proxy, Uri)>,
    user_agent: String,
    tls: TlsLayer,
}

impl Route {
    pub(super) fn new(names: NameCache, proxy: Option<Proxy>, user_agent: String) -> Result<Route> {
        let proxy = match proxy {
            None => None,
            Some(proxy) => {
                let scheme = if proxy.is_https { "https" } else { "http" };
                let uri = format!("{scheme}://{}:{}/", proxy.host, proxy.port).parse::<Uri>();
                let uri = uri.map_err(|_| Error::option("proxy", "its host is not valid"))?;
                Some((proxy, uri))
            }
        };
        Ok(Route {
            names,
            proxy,
            user_agent,
            tls: TlsLayer::default(),
        })
    }

    /// Wakes all threads that wait for a lookup.
    pub(super) fn wake(&self) {
        self.names.wake();
    }
}

/// ureq resolves names for every request, even when it has a connection. Here they are resolved
/// when a connection is made.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        // ureq requires at least one address. It is not used.
        addresses.push(SocketAddr::from(([0, 0, 0, 0], 0)));
        Ok(addresses)
    }
}

/// Makes the one connection of an agent.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) route: Arc<Route>,
    pub(super) exchange: Arc<Exchange>,
}

impl Connector for Dialer {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Box<dyn Transport>>, ureq::Error> {
        let exchange = &self.exchange;
        exchange.start_connect();
        let (Some(host), Some(port)) = (details.uri.host(), port_of(details.uri)) else {
            let detail = "the URL of the request has no host";
            return Err(failed(TransportFailure::new(
                FailureKind::InvalidRequest,
                detail,
            )));
        };
        let target = format!("{host}:{port}");
        let proxy = self.route.proxy.as_ref();
        let proxy = proxy.filter(|(proxy, _)| !proxy.bypass.matches(host, port));
        let is_tls = details.needs_tls() || proxy.is_some_and(|(proxy, _)| proxy.is_https);
        let mut transport: Box<dyn Transport> = match proxy {
            None => Box::new(
                self.open(host, port, target.clone(), is_tls)
                    .map_err(failed)?,
            ),
            Some((proxy, uri)) => {
                let name = format!("the proxy {}:{}", proxy.host, proxy.port);
                let stream = self
                    .open(&proxy.host, proxy.port, name, is_tls)
                    .map_err(failed)?;
                let mut transport: Box<dyn Transport> = Box::new(stream);
                if proxy.is_https {
                    transport = self
                        .route
                        .tls
                        .wrap(&towards_proxy(details, uri), transport)?;
                }
                self.open_tunnel(&mut *transport, proxy, &target)?;
                exchange.set_peer(target);
                Box::new(Tunnel(transport))
            }
        };
        if details.needs_tls() {
            transport = self.route.tls.wrap(details, transport)?;
        }
        exchange.mark_connected(is_tls);
        Ok(Some(Box::new(ResponseStream::new(
            transport,
            Arc::clone(exchange),
        ))))
    }
}

impl Dialer {
    fn open(
        &self,
        host: &str,
        port: u16,
        peer: String,
        is_below_tls: bool,
    ) -> Result<SocketStream, TransportFailure> {
        let (exchange, names) = (&self.exchange, &self.route.names);
        exchange.set_peer(peer.clone());
        let deadline = Some(exchange.connect_deadline());
        let addresses = names.resolve(host, port, deadline, &exchange.abort)?;
        let stream = match connect(&addresses, deadline, &exchange.abort, &peer) {
            Ok((stream, address)) => {
                names.prefer(host, port, address);
                stream
            }
            Err(failure) => {
                if !matches!(
                    failure.kind,
                    FailureKind::Aborted | FailureKind::NoResources
                ) {
                    names.expire(host, port);
                }
                return Err(failure);
            }
        };
        let socket = Socket::new(stream, exchange)?;
        Ok(SocketStream::new(
            socket,
            Arc::clone(exchange),
            is_below_tls,
        ))
    }

    fn open_tunnel(
        &self,
        transport: &mut dyn Transport,
        proxy: &Proxy,
        target: &str,
    ) -> Result<(), ureq::Error> {
        let request = tunnel::request(target, &self.route.user_agent, proxy);
        let Some(output) = transport.buffers().output().get_mut(..request.len()) else {
            let detail = "the request to the proxy is too long";
            return Err(failed(TransportFailure::new(
                FailureKind::InvalidRequest,
                detail,
            )));
        };
        output.copy_from_slice(request.as_bytes());
        transport.transmit_output(request.len(), NextTimeout::default())?;
        let peer = self.exchange.peer();
        let mut head = Vec::new();
        loop {
            let is_open = transport.maybe_await_input(NextTimeout::default())?;
            let before = head.len();
            head.extend_from_slice(transport.buffers().input());
            let end = tunnel::head_length(&head);
            // What follows the head belongs to the tunnel.
            let used = end.unwrap_or(head.len()) - before;
            transport.buffers().input_consume(used);
            if let Some(end) = end {
                return tunnel::check_response(&head[..end], &peer, target).map_err(failed);
            }
            if head.len() > tunnel::HEAD_BYTES_MAX {
                return Err(failed(tunnel::not_understood(
                    &peer,
                    "its response is too long",
                )));
            }
            if !is_open {
                let why = "it closed the connection";
                return Err(failed(tunnel::not_understood(&peer, why)));
            }
        }
    }
}

/// Wraps a failure so that ureq passes it through.
pub(super) fn failed(failure: TransportFailure) -> ureq::Error {
    ureq::Error::Io(socket::wrap(failure))
}

fn port_of(uri: &Uri) -> Option<u16> {
    match uri.scheme_str() {
        _ if uri.port().is_some() => uri.port_u16(),
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    }
}

fn towards_proxy<'a>(details: &'a ConnectionDetails<'a>, uri: &'a Uri) -> ConnectionDetails<'a> {
    ConnectionDetails {
        uri,
        addrs: NoLookup.empty(),
        config: details.config,
        request_level: details.request_level,
        resolver: details.resolver,
        now: details.now,
        timeout: details.timeout,
        current_time: details.current_time.clone(),
        run_connector: details.run_connector.clone(),
        register_shutdown: details.register_shutdown.clone(),
    }
}

/// The tunnel through the proxy. It counts as unencrypted, because TLS to the proxy is not TLS to
/// the server.
#[derive(Debug)]
struct Tunnel(Box<dyn Transport>);

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}
