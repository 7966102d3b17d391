package rest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Time-outs of one connection. A write verb may take as long as the drives
// need: only reading the request and sending the answer are bounded.
const (
	readTimeout = 10 * time.Second
	sendTimeout = 30 * time.Second
	idleTimeout = 2 * time.Minute
)

// MaxClients is how many connections the server holds; more wait in the
// kernel's queue.
const MaxClients = 2048

// Server serves a Node.
type Server struct {
	node  Node
	audit Auditor
	log   *slog.Logger
	http  http.Server

	// Tokens lets remote clients in; nil lets none in. Set it before Serve.
	Tokens   Tokens
	throttle throttle
}

// NewServer makes a server that hands requests to node.
func NewServer(node Node, audit Auditor, log *slog.Logger) *Server {
	s := &Server{node: node, audit: audit, log: log}
	s.http = http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext:       s.whoConnects,
	}
	return s
}

// Serve answers on l until Shutdown. A listener on the network needs secure;
// on the Unix socket it is nil. Serve may be called for several listeners.
func (s *Server) Serve(l net.Listener, secure *tls.Config) error {
	l = limit(l, MaxClients)
	if secure != nil { // outermost, where net/http looks for it
		l = tls.NewListener(l, secure)
	}
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops listening and waits for the requests under way.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

func (s *Server) whoConnects(ctx context.Context, c net.Conn) context.Context {
	if l, ok := c.(*limitedConn); ok {
		c = l.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	p, err := unixPeer(u)
	if err != nil {
		s.log.Warn("a client stays without privileges", "error", err)
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.Handle(r.method+" "+r.path, s.serve(r))
		mux.Handle(r.method+" "+r.path+"/{$}", s.serve(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, Errorf(http.StatusNotFound, "there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// serve wraps a route: who asks (nobody's cancellation goes further: what was
// begun is finished), privilege, body limit, audit, answer.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, unknown := s.who(r)
		if unknown != nil {
			s.refuse(w, rt, &Peer{Name: "unknown client " + r.RemoteAddr}, unknown)
			return
		}
		if !peer.Has(rt.privilege) {
			err := Errorf(http.StatusForbidden, "%s lacks %s", peer.Name, rt.privilege)
			s.refuse(w, rt, peer, err)
			return
		}
		r = r.WithContext(context.WithValue(context.WithoutCancel(r.Context()), peerKey{}, peer))
		r.Body = http.MaxBytesReader(w, r.Body, rt.limit)
		if rt.action == "" {
			answer, _, err := rt.serve(r.Context(), r)
			s.answer(w, answer, err)
			return
		}
		s.write(w, r, rt, peer)
	})
}

// write carries out a write verb between its two lines in the audit log.
func (s *Server) write(w http.ResponseWriter, r *http.Request, rt route, peer *Peer) {
	started := false
	ctx := context.WithValue(r.Context(), beginKey{}, beginFunc(func(what string) error {
		if err := s.record(rt, peer, what, "started", nil); err != nil {
			return Errorf(http.StatusInternalServerError, "refused, because the audit log cannot be written: %v", err)
		}
		started = true
		return nil
	}))
	answer, what, err := rt.serve(ctx, r)
	outcome := "done"
	switch {
	case err != nil && started:
		outcome = "failed"
	case err != nil:
		outcome = "refused"
	}
	if auditErr := s.record(rt, peer, what, outcome, err); auditErr != nil {
		s.log.Error("audit log not written", "action", rt.action, "outcome", outcome, "error", auditErr)
	}
	s.answer(w, answer, err)
}

func (s *Server) refuse(w http.ResponseWriter, rt route, peer *Peer, err *Error) {
	if rt.action != "" {
		if auditErr := s.record(rt, peer, "", "refused", err); auditErr != nil {
			s.log.Error("audit log not written", "action", rt.action, "outcome", "refused", "error", auditErr)
		}
	}
	s.fail(w, err)
}

func (s *Server) record(rt route, p *Peer, what, outcome string, err error) error {
	e := AuditEntry{Time: time.Now().UTC(), Action: rt.action, User: p.Name, UID: p.UID, PID: p.PID, What: what, Outcome: outcome}
	if err != nil {
		e.Reason = asError(err).Description
	}
	return s.audit.Record(e)
}

// begin writes the first line of a write verb in the audit log, once its body
// is understood. In a read it does nothing.
func begin(ctx context.Context, what string) error {
	if f, ok := ctx.Value(beginKey{}).(beginFunc); ok {
		return f(what)
	}
	return nil
}

type (
	beginKey  struct{}
	beginFunc func(what string) error
)

func (s *Server) answer(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		s.fail(w, asError(err))
		return
	}
	s.send(w, http.StatusOK, answer)
}

func (s *Server) fail(w http.ResponseWriter, e *Error) { s.send(w, e.Code, e) }

func (s *Server) send(w http.ResponseWriter, code int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		s.log.Error("an answer that JSON cannot hold", "error", err)
		code, b = http.StatusInternalServerError, []byte("{}")
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		s.log.Warn("no deadline for an answer", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := io.WriteString(w, string(b)+"\n"); err != nil {
		s.log.Debug("client gone before its answer", "error", err)
	}
}
