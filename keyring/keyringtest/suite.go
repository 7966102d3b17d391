// Package keyringtest holds what every keyring.Store must do, as a test suite,
// and a KMIP server with faults.
package keyringtest

import (
	"context"
	"errors"
	"testing"

	"sealbay/keyring"
)

// Subject is a Store to be tested, with a current key.
type Subject struct {
	Store keyring.Store
	// Next returns what Prepare gets: a new key each time.
	Next func(t *testing.T) keyring.NewKey
	// Reopen returns the store as it is after a restart of the node.
	Reopen func(t *testing.T) keyring.Store
}

// Suite checks the contract of keyring.Store on a new Subject for each test.
func Suite(t *testing.T, open func(t *testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"Fetch":            testFetch,
		"Prepare":          testPrepare,
		"Abort":            testAbort,
		"Commit":           testCommit,
		"Discard":          testDiscard,
		"Retain":           testRetain,
		"LookupOfAnother":  testLookupOfAnother,
		"EndedContext":     testEndedContext,
		"HealthAfterFetch": testHealth,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func fetch(t *testing.T, s keyring.Store) (*keyring.MasterKey, keyring.Ref) {
	t.Helper()
	key, info, err := s.Fetch(t.Context())
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	t.Cleanup(func() { key.Close() })
	if info.Ref.ID != key.ID() || info.Ref.Type != s.Type() {
		t.Errorf("Fetch gave %v with %v of a %s store", key, info.Ref, s.Type())
	}
	return key, info.Ref
}

func lookup(t *testing.T, s keyring.Store, ref keyring.Ref, want *keyring.MasterKey) {
	t.Helper()
	key, info, err := s.Lookup(t.Context(), ref)
	if err != nil {
		t.Fatalf("Lookup of %v: %v", ref, err)
	}
	defer key.Close()
	if !key.Equal(want) || info.Ref != ref {
		t.Errorf("Lookup of %v gave %v, %v", ref, key, info.Ref)
	}
}

func prepare(t *testing.T, sub Subject) (*keyring.MasterKey, keyring.Ref) {
	t.Helper()
	key, info, err := sub.Store.Prepare(t.Context(), sub.Next(t))
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	t.Cleanup(func() { key.Close() })
	if info.Ref.ID != key.ID() {
		t.Errorf("Prepare gave %v with %v", key, info.Ref)
	}
	return key, info.Ref
}

func current(t *testing.T, s keyring.Store, want *keyring.MasterKey) {
	t.Helper()
	if got, _ := fetch(t, s); !got.Equal(want) {
		t.Errorf("the current key is %v, want %v", got, want)
	}
}

func testFetch(t *testing.T, sub Subject) {
	a, ref := fetch(t, sub.Store)
	b, _ := fetch(t, sub.Store)
	if a == b {
		t.Error("two calls share one key: closing one closes the other")
	}
	if !a.Equal(b) {
		t.Error("two calls gave different keys")
	}
	lookup(t, sub.Store, ref, a)
	current(t, sub.Reopen(t), a)
}

func testPrepare(t *testing.T, sub Subject) {
	old, _ := fetch(t, sub.Store)
	next, ref := prepare(t, sub)
	if next.Equal(old) {
		t.Error("the prepared key is the current one")
	}
	current(t, sub.Store, old)
	lookup(t, sub.Store, ref, next)
	if _, _, err := sub.Store.Prepare(t.Context(), sub.Next(t)); !errors.Is(err, keyring.ErrPrepared) {
		t.Errorf("a second Prepare: %v", err)
	}
	again := sub.Reopen(t)
	current(t, again, old)
	lookup(t, again, ref, next) // a journal that names it finds it
}

func testAbort(t *testing.T, sub Subject) {
	old, _ := fetch(t, sub.Store)
	prepare(t, sub)
	for range 2 {
		if err := sub.Store.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	current(t, sub.Store, old)
	prepare(t, sub)
}

func testCommit(t *testing.T, sub Subject) {
	old, oldRef := fetch(t, sub.Store)
	next, ref := prepare(t, sub)
	for range 2 {
		if err := sub.Store.Commit(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	current(t, sub.Store, next)
	lookup(t, sub.Store, oldRef, old)
	if err := sub.Store.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	current(t, sub.Store, next)
}

func testDiscard(t *testing.T, sub Subject) {
	_, oldRef := fetch(t, sub.Store)
	next, ref := prepare(t, sub)
	if err := sub.Store.Commit(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sub.Store.Discard(t.Context(), oldRef); err != nil {
			t.Fatal(err)
		}
	}
	current(t, sub.Store, next)
	lookup(t, sub.Store, ref, next)
}

func testRetain(t *testing.T, sub Subject) {
	old, _ := fetch(t, sub.Store)
	next, ref := prepare(t, sub)
	for range 2 {
		if err := sub.Store.Retain(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	current(t, sub.Store, old)
	lookup(t, sub.Store, ref, next)
	lookup(t, sub.Reopen(t), ref, next)
	prepare(t, sub) // there is room for another
	if err := sub.Store.Discard(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	current(t, sub.Store, old)
}

func testLookupOfAnother(t *testing.T, sub Subject) {
	_, ref := fetch(t, sub.Store)
	ref.ID[0] ^= 1
	if key, _, err := sub.Store.Lookup(t.Context(), ref); err == nil {
		t.Errorf("Lookup of a fingerprint that no key has gave %v", key)
	}
}

func testEndedContext(t *testing.T, sub Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if key, _, err := sub.Store.Fetch(ctx); err == nil {
		defer key.Close() // a local store may answer all the same, but not wrongly
		current(t, sub.Store, key)
	}
}

func testHealth(t *testing.T, sub Subject) {
	fetch(t, sub.Store)
	h := sub.Store.Health()
	if h.Status != keyring.StatusOf(sub.Store.Type(), nil) || h.Detail != "" || h.Time.IsZero() {
		t.Errorf("after a Fetch that worked: %+v", h)
	}
}
