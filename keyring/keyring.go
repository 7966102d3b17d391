// Package keyring is where the master key comes from and how it is replaced:
// a file that only root can read (package local), or a key server that speaks
// KMIP (package kmip).
//
// It promises that key bytes stand in locked memory only, never in an error, a
// log or a core file, and that a rotation which is cut at any moment can be
// finished or taken back (ROTATION.md). It knows nothing of drives: what a
// master key opens is described by the interface Drive.
//
// It does not protect a running node from its own root user, and a local
// store does not protect drives that are stolen together with the boot drive.
package keyring

import (
	"context"
	"time"
)

// Type is the kind of a Store, in the words of the control interface.
type Type string

// The kinds of store.
const (
	Local Type = "Local" // a file on the boot drive
	KMS   Type = "KMS"   // a key server, KMIP over mutual TLS
)

// Ref names one master key without holding it. It is what journals,
// configurations and messages keep, and holds nothing secret.
type Ref struct {
	Type  Type   `json:"type"`
	ID    ID     `json:"id"`               // fingerprint of the key
	KeyID string `json:"key_id,omitempty"` // the key server's unique identifier
}

// String returns "Local 1f2e..." or "KMS key abcd-1234 (1f2e...)".
func (r Ref) String() string {
	if r.Type == KMS {
		return "KMS key " + r.KeyID + " (" + r.ID.String() + ")"
	}
	return string(r.Type) + " key " + r.ID.String()
}

// KeyInfo is what a store says of a key besides its bytes.
type KeyInfo struct {
	Ref     Ref
	Created time.Time // zero where the store does not say
}

// NewKey says which key Prepare is to obtain. A local store makes one and
// wants the zero value; of a key server it names an existing key.
type NewKey struct {
	KeyID string
}

// Store is one place where master keys live, as it is configured. Every
// implementation passes keyringtest.Suite. Its methods may be called from any
// goroutine; those with a context end when it ends and have a deadline of
// their own besides.
//
// A key has one of three roles: prepared (handed out by Prepare, nothing
// depends on it yet), current (Fetch returns it), retained (some drive may
// still need or accept it). Prepare, Commit, Abort, Retain and Discard belong
// to a rotation and are called by a Journal only, in the order that
// ROTATION.md gives; all but Prepare do nothing when repeated.
type Store interface {
	// Type says what kind of store it is.
	Type() Type
	// Fetch gets the current key anew from where it lives, never from a
	// cache. The caller closes the key. The error wraps one of the sentinels
	// of this package, from which StatusOf makes a status.
	Fetch(ctx context.Context) (*MasterKey, KeyInfo, error)
	// Lookup gets the key that ref names, in whichever role, and checks that
	// it has the fingerprint ref.ID.
	Lookup(ctx context.Context, ref Ref) (*MasterKey, KeyInfo, error)

	// Prepare obtains a new key and holds it durably beside the current one.
	// A store holds at most one prepared key: ErrPrepared.
	Prepare(ctx context.Context, want NewKey) (*MasterKey, KeyInfo, error)
	// Commit makes the prepared key that ref names the current one, and the
	// one that was current a retained one.
	Commit(ctx context.Context, ref Ref) error
	// Abort gives up whatever was prepared and not committed.
	Abort(ctx context.Context) error
	// Retain makes the prepared key that ref names a retained one, without it
	// having been current: some drive may accept it.
	Retain(ctx context.Context, ref Ref) error
	// Discard gives up the key that ref names for good: a local store wipes
	// it, a key server's copy stays the administrator's business.
	Discard(ctx context.Context, ref Ref) error

	// Health returns what the store knew last. It never blocks.
	Health() Health
	// Close ends what runs in the background.
	Close() error
}
