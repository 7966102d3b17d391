// Package kmip gets the master key from a key server that speaks KMIP 1.0 to
// 1.4 over mutual TLS. The key is fetched when it is asked for, kept in locked
// memory by whoever asked, and never stored on a drive.
//
// Every visit to the server has a deadline over all of it (dialling,
// handshake, each request), and every failure ends in an Error: a sentence
// with the remedy, and the state from which the status is made. Of keys in the
// server only active symmetric ones of 256 bits are used: a server hands out
// pre-active, deactivated and compromised keys too.
//
// Copies of the key that Go code makes on the way: the buffer into which
// answers are read is locked and wiped, the decoder's copy is wiped, the record
// buffer of crypto/tls is overwritten by the next answer, and no signal can
// write registers that hold parts of it to memory (keyring.Quiet); the cipher
// state and the session keys of the TLS connection are out of reach.
package kmip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sealbay/keyring"
)

// Store is a keyring.Store on a key server. Its configuration lives in memory:
// after Commit the caller stores Config durably.
type Store struct {
	mu       sync.Mutex // guards all below; never held while talking to the server
	cfg      Config
	prepared *keyring.Ref
	answer   keyring.Health       // of the server when it gave the prepared key
	fprint   keyring.ID           // of the current key when it was fetched last
	worked   map[string]time.Time // by key ID: when the server had it in a usable state last
	health   keyring.Health
	closed   bool
}

var _ keyring.Store = (*Store)(nil)

// New checks cfg and returns the store without talking to the server. The
// error is a *FieldError.
func New(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, worked: map[string]time.Time{}}
	if !cfg.Created.IsZero() {
		s.worked[cfg.KeyID] = cfg.Created
	}
	creds, err := cfg.credentials()
	if err != nil {
		return nil, err
	}
	s.health = keyring.Health{
		Status:           keyring.Unreachable,
		Detail:           "KMS " + cfg.Addr() + ": not asked yet since the start",
		Time:             time.Now(),
		ClientCertExpiry: creds.pair.Leaf.NotAfter,
		CACertExpiry:     latest(creds.cas),
	}
	return s, nil
}

// Type returns keyring.KMS.
func (s *Store) Type() keyring.Type { return keyring.KMS }

// Config returns the configuration with the key ID that is current now.
func (s *Store) Config() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// Fetch gets the current key from the server.
func (s *Store) Fetch(ctx context.Context) (*keyring.MasterKey, keyring.KeyInfo, error) {
	cfg := s.Config()
	key, info, seen, err := s.visit(ctx, cfg, false)
	s.note(cfg, seen, err)
	if err == nil {
		s.mu.Lock()
		s.fprint = info.Ref.ID
		s.mu.Unlock()
	}
	return key, info, err
}

// Lookup gets the key with ref's key ID. Other than Fetch it takes one that
// was deactivated: a drive that was away may need it to be moved over.
func (s *Store) Lookup(ctx context.Context, ref keyring.Ref) (*keyring.MasterKey, keyring.KeyInfo, error) {
	if ref.Type != keyring.KMS {
		return nil, keyring.KeyInfo{}, fmt.Errorf("looking up %v in a KMS: %w", ref, keyring.ErrKeyNotFound)
	}
	cfg := s.Config()
	cfg.KeyID = ref.KeyID
	key, info, _, err := s.visit(ctx, cfg, true)
	if err == nil && info.Ref.ID != ref.ID {
		err = errors.Join((&target{addr: cfg.Addr()}).fail(keyring.ErrKeyNotFound, nil,
			"key %q holds other bytes than before (fingerprint %s, was %s): restore the former key on the KMS", ref.KeyID, info.Ref.ID, ref.ID), key.Close())
		key = nil
	}
	return key, info, err
}

func (s *Store) visit(ctx context.Context, cfg Config, retained bool) (key *keyring.MasterKey, info keyring.KeyInfo, seen expiries, err error) {
	if err := s.open(); err != nil {
		return nil, info, seen, err
	}
	seen, err = run(ctx, &cfg, timeout, s.workedAt(cfg.KeyID), func(e *errand) (err error) {
		key, info, err = e.fetch(cfg.KeyID, retained)
		return err
	})
	if err == nil {
		s.mu.Lock()
		s.worked[cfg.KeyID] = time.Now()
		s.mu.Unlock()
	}
	return key, info, seen, err
}

func (s *Store) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("KMS %s: %w", s.cfg.Addr(), keyring.ErrClosed)
	}
	return nil
}

func (s *Store) workedAt(keyID string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worked[keyID]
}

// Prepare fetches the key that want names.
func (s *Store) Prepare(ctx context.Context, want keyring.NewKey) (*keyring.MasterKey, keyring.KeyInfo, error) {
	if err := validateKeyID(want.KeyID); err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	if s.isPrepared() {
		return nil, keyring.KeyInfo{}, keyring.ErrPrepared
	}
	cfg := s.Config()
	cfg.KeyID = want.KeyID
	key, info, seen, err := s.visit(ctx, cfg, false)
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared, s.answer = &info.Ref, healthOf(seen, nil)
	return key, info, nil
}

func (s *Store) isPrepared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared != nil
}

// Commit makes ref's key ID the configured one.
func (s *Store) Commit(_ context.Context, ref keyring.Ref) error {
	if ref.Type != keyring.KMS {
		return fmt.Errorf("committing %v to a KMS: %w", ref, keyring.ErrKeyNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.KeyID != ref.KeyID {
		s.cfg.Created = time.Now().UTC()
	}
	if s.prepared != nil && *s.prepared == ref {
		s.health = s.answer // what is known of this key; the next poll may be half a minute away
	}
	s.cfg.KeyID, s.fprint, s.prepared = ref.KeyID, ref.ID, nil
	return nil
}

// Abort forgets the prepared key, which stays in the server.
func (s *Store) Abort(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = nil
	return nil
}

// Retain forgets that the key was prepared; it stays in the server.
func (s *Store) Retain(ctx context.Context, _ keyring.Ref) error { return s.Abort(ctx) }

// Discard does nothing: nothing of a key is stored here, and destroying it in
// the server is for its administrator.
func (s *Store) Discard(context.Context, keyring.Ref) error { return nil }

// ReplaceCerts replaces the certificates if the current key can be had with
// the new ones: keep is then called to store the new configuration durably,
// and after it they are in use. On any error nothing changes.
func (s *Store) ReplaceCerts(ctx context.Context, certs Certs, keep func(Config) error) error {
	cfg := s.Config()
	cfg.Certs = certs
	if err := cfg.Validate(); err != nil {
		return err
	}
	key, info, seen, err := s.visit(ctx, cfg, false)
	if err != nil {
		return fmt.Errorf("the new certificates do not work, the old ones stay: %w", err)
	}
	if err := key.Close(); err != nil {
		return err
	}
	s.mu.Lock()
	other := s.fprint != (keyring.ID{}) && s.fprint != info.Ref.ID
	s.mu.Unlock()
	if other {
		return fmt.Errorf("the new certificates lead to another key %q (fingerprint %s), the old ones stay: %w", cfg.KeyID, info.Ref.ID, keyring.ErrKeyNotFound)
	}
	if err := keep(cfg); err != nil {
		return err
	}
	s.mu.Lock()
	s.cfg.Certs = certs
	s.mu.Unlock()
	s.note(cfg, seen, nil)
	return nil
}

// Health returns what the last Fetch or poll found.
func (s *Store) Health() keyring.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// note makes a health of an errand for the current key. An answer for a
// configuration that was replaced meanwhile is dropped.
func (s *Store) note(cfg Config, seen expiries, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cfg.KeyID != s.cfg.KeyID {
		return
	}
	h := healthOf(seen, err)
	if seen.server.IsZero() { // no handshake this time: what is known still holds
		h.ServerCertExpiry = s.health.ServerCertExpiry
	}
	s.health = h
}

func healthOf(seen expiries, err error) keyring.Health {
	h := keyring.Health{Status: keyring.StatusOf(keyring.KMS, err), Time: time.Now()}
	if err != nil {
		h.Detail = err.Error()
	}
	h.ClientCertExpiry, h.CACertExpiry, h.ServerCertExpiry = seen.client, seen.ca, seen.server
	return h
}

// Close makes every later call fail with keyring.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
