package appliance

import (
	"context"
	"errors"
	"sync"

	"sealbay/keyring"
)

// held is a store whose keys, as far as this process has them in memory, are
// taken from there: a rotation that stopped on the way is recovered although
// its KMS went away in the same moment.
type held struct {
	keyring.Store
	ring *ring
}

// ring holds master keys by their fingerprint.
type ring struct {
	mu   sync.Mutex // guards keys
	keys map[keyring.ID]heldKey
}

type heldKey struct {
	key  *keyring.MasterKey
	info keyring.KeyInfo
}

func newRing() *ring { return &ring{keys: map[keyring.ID]heldKey{}} }

// add keeps a copy of key.
func (r *ring) add(key *keyring.MasterKey, info keyring.KeyInfo) error {
	c, err := clone(key)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.keys[key.ID()]
	r.keys[key.ID()] = heldKey{c, info}
	if old.key != nil {
		return old.key.Close()
	}
	return nil
}

// get returns a copy of the key with the fingerprint, or nil.
func (r *ring) get(id keyring.ID) (*keyring.MasterKey, keyring.KeyInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.keys[id]
	if !ok {
		return nil, keyring.KeyInfo{}, nil
	}
	c, err := clone(h.key)
	return c, h.info, err
}

// keepOnly wipes every key but the one with the fingerprint.
func (r *ring) keepOnly(id keyring.ID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for x, h := range r.keys {
		if x != id {
			err = errors.Join(err, h.key.Close())
			delete(r.keys, x)
		}
	}
	return err
}

func clone(key *keyring.MasterKey) (c *keyring.MasterKey, err error) {
	buf, err := keyring.NewBuffer(keyring.KeySize) // the copy on the way is locked and wiped, too
	if err != nil {
		return nil, err
	}
	err = key.Use(func(b []byte) error { copy(buf.Bytes(), b); return nil })
	if err == nil {
		c, err = keyring.NewMasterKey(buf.Bytes())
	}
	return c, errors.Join(err, buf.Close())
}

// Lookup takes the key from memory if it is there.
func (h held) Lookup(ctx context.Context, ref keyring.Ref) (*keyring.MasterKey, keyring.KeyInfo, error) {
	if key, info, err := h.ring.get(ref.ID); key != nil || err != nil {
		return key, info, err
	}
	return h.Store.Lookup(ctx, ref)
}

// Prepare keeps a copy of what the store prepared.
func (h held) Prepare(ctx context.Context, want keyring.NewKey) (*keyring.MasterKey, keyring.KeyInfo, error) {
	key, info, err := h.Store.Prepare(ctx, want)
	if err != nil {
		return nil, info, err
	}
	if err := h.ring.add(key, info); err != nil {
		return nil, info, errors.Join(err, h.Store.Abort(ctx), key.Close())
	}
	return key, info, nil
}
