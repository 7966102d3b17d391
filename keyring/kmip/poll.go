package kmip

import (
	"context"
	"math/rand/v2"
	"time"

	"sealbay/keyring"
)

// DefaultPoll is the time between two health polls.
const DefaultPoll = 30 * time.Second

// Poll asks the server for the state of the current key, without fetching it,
// now and then about every interval until ctx ends: each time 10 % earlier to
// 10 % later, so that a thousand nodes that started together do not ask
// together. After each, changed is called with the health if its status or
// detail is another than before; it may be nil.
func (s *Store) Poll(ctx context.Context, interval time.Duration, changed func(keyring.Health)) {
	poll(ctx, interval, s.Health(), s.Check, changed)
}

func poll(ctx context.Context, interval time.Duration, before keyring.Health, check func(context.Context) keyring.Health, changed func(keyring.Health)) {
	for {
		now := check(ctx)
		if ctx.Err() != nil {
			return
		}
		if changed != nil && (now.Status != before.Status || now.Detail != before.Detail) {
			changed(now)
		}
		before = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(interval)):
		}
	}
}

func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// Check asks the server for the state of the current key once and returns the
// health that follows from it.
func (s *Store) Check(ctx context.Context) keyring.Health {
	cfg := s.Config()
	if s.open() != nil {
		return s.Health()
	}
	seen, err := run(ctx, &cfg, timeout, s.workedAt(cfg.KeyID), func(e *errand) error {
		a, err := e.attributes(cfg.KeyID)
		if err != nil {
			return err
		}
		return e.check(cfg.KeyID, a, false)
	})
	if ctx.Err() != nil {
		return s.Health() // the caller went away, which says nothing of the server
	}
	if err == nil {
		s.mu.Lock()
		s.worked[cfg.KeyID] = time.Now()
		s.mu.Unlock()
	}
	s.note(cfg, seen, err)
	return s.Health()
}
