package rest

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Tokens tells who holds a bearer token.
type Tokens interface {
	// Holder returns who the token belongs to, or nil.
	Holder(token string) *Peer
}

// Remote clients that fail to authenticate are made to wait.
const (
	maxFailures   = 5
	failureWindow = time.Minute
	maxWatched    = 4096 // addresses; beyond that the window of all starts anew
)

// throttle counts failed authentications by address.
type throttle struct {
	mu    sync.Mutex // guards all below
	start time.Time
	bad   map[string]int
}

// refuses reports whether the address has used up its attempts.
func (t *throttle) refuses(addr string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.start) > failureWindow || len(t.bad) > maxWatched {
		t.start, t.bad = now, map[string]int{}
	}
	return t.bad[addr] >= maxFailures
}

func (t *throttle) failed(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bad[addr]++
}

// who returns the peer of a request: of the connection on the Unix socket, of
// the bearer token over TLS.
func (s *Server) who(r *http.Request) (*Peer, *Error) {
	if r.TLS == nil {
		return peerFrom(r.Context()), nil
	}
	addr, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		addr = r.RemoteAddr
	}
	if s.throttle.refuses(addr, time.Now()) {
		return nil, Errorf(http.StatusTooManyRequests, "too many failed attempts from %s; wait a minute", addr)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || s.Tokens == nil {
		return nil, Errorf(http.StatusUnauthorized, "Need to log in first to establish credentials.")
	}
	p := s.Tokens.Holder(token)
	if p == nil {
		s.throttle.failed(addr)
		s.log.Warn("a remote client's token is not known", "address", addr)
		return nil, Errorf(http.StatusUnauthorized, "the token is not known here, or was revoked")
	}
	return p, nil
}
