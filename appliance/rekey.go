package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sealbay/appliance/rest"
	"sealbay/keyring"
	"sealbay/keyring/kmip"
	"sealbay/keyring/local"
)

// RotateKeys replaces the master key on every drive. With a KMS the request
// names a key there; a local store makes its own.
func (n *Node) RotateKeys(ctx context.Context, c rest.RotateKeys) error {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	now, err := n.keys.configured()
	if err != nil {
		return storeError(err)
	}
	if now.Type == keyring.Local {
		if c.KeyID != "" {
			return rest.Errorf(http.StatusBadRequest, "key_id: the key store is local and makes its own keys")
		}
		return n.rotate(ctx, target{store: local.New(n.state.folder)})
	}
	if c.KeyID == "" {
		return rest.Errorf(http.StatusBadRequest, "key_id: name the key of the KMS to rotate to, or have one made with --create-key-with-name")
	}
	return n.rotateToKMS(ctx, *now.KMS, c.KeyID)
}

// rotateToKMS rotates to another key of the KMS that kms describes. The caller
// holds hands.
func (n *Node) rotateToKMS(ctx context.Context, kms kmsConfig, keyID string) error {
	kms.KeyID, kms.Created = keyID, time.Now().UTC()
	store, err := n.keys.kmsStore(kms)
	if err != nil {
		return storeError(err)
	}
	return n.rotate(ctx, target{store: store, kms: &kms, want: keyring.NewKey{KeyID: keyID}})
}

// target is where a rotation goes.
type target struct {
	store keyring.Store
	kms   *kmsConfig // nil for a local store
	want  keyring.NewKey
}

// rotate carries out one rotation and closes the target's store. The caller
// holds hands.
func (n *Node) rotate(ctx context.Context, to target) error {
	defer to.store.Close()
	if _, err := n.keys.fetch(ctx); err != nil {
		return sealed(err)
	}
	if err := n.recover(ctx); err != nil {
		return fmt.Errorf("a rotation that was interrupted must be finished first: %w", storeError(err))
	}
	journal, err := n.keys.rotations()
	if err != nil {
		return storeError(err)
	}
	cfg, err := placeConfig(to.kms)
	if err != nil {
		return err
	}
	defer n.phase.during(rest.StateRotating)()
	here, away := n.drives.keyed()
	key, old, from := n.keys.current()
	result, err := journal.Rotate(ctx, keyring.Rotation{
		Key: key, Old: old, From: from, To: held{to.store, n.keys.ring}, ToCfg: cfg, Want: to.want,
		Drives: here, Absent: away, Commit: n.keys.commit,
	})
	for _, d := range result.Waiting {
		n.log.Warn("the former master key is kept for a drive that is away", "drive", d.String())
	}
	if journal.Interrupted() { // finish it, or take it back, while the keys are in memory
		err = errors.Join(err, n.recover(ctx))
	}
	return storeError(errors.Join(err, n.rekeyed()))
}

// rekeyed brings everything in line with the keyslots and keys as they are
// after a rotation or a recovery. The caller holds hands.
func (n *Node) rekeyed() error {
	return errors.Join(n.drives.rekeyed(), n.keys.settle())
}

// recover finishes a rotation that was interrupted, or takes it back, and
// wipes keys that nobody needs any more. The caller holds hands.
func (n *Node) recover(ctx context.Context) error {
	journal, err := n.keys.rotations()
	if err != nil || !n.keys.unfinished() {
		return err
	}
	defer n.phase.during(rest.StateRotating)()
	if err := journal.Recover(ctx, n.recovery()); err != nil {
		return err
	}
	n.log.Info("what an interrupted rotation left is recovered")
	return n.rekeyed()
}

// recovery is what package keyring needs to know of the node. The caller
// holds hands.
func (n *Node) recovery() keyring.Recovery {
	here, away := n.drives.reachable()
	return keyring.Recovery{Open: n.keys.open, Drives: here, Absent: away, Commit: n.keys.commit}
}

// SetKeyStore chooses where the master key comes from. Leaving one store for
// another is a rotation.
func (n *Node) SetKeyStore(ctx context.Context, c rest.SetKeyStore) error {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	switch {
	case c.Type == rest.TypeLocal && c.KMS != nil:
		return rest.Errorf(http.StatusBadRequest, "kms_store: does not go with type %q", c.Type)
	case c.Type == rest.TypeLocal:
		return n.setLocal(ctx)
	case c.Type == rest.TypeKMS && c.KMS == nil:
		return rest.Errorf(http.StatusBadRequest, "kms_store: is missing")
	case c.Type == rest.TypeKMS:
		return n.setKMS(ctx, kmsConfigOf(c.KMS))
	}
	return rest.Errorf(http.StatusBadRequest, "type: %q is neither %q nor %q", c.Type, rest.TypeLocal, rest.TypeKMS)
}

func (n *Node) setLocal(ctx context.Context) error {
	now, err := n.keys.configured()
	switch {
	case err != nil: // nothing to rotate from
		defer n.look()
		return storeError(n.keys.makeLocal())
	case now.Type == keyring.Local:
		return nil // as it was
	}
	return n.rotate(ctx, target{store: local.New(n.state.folder)})
}

func (n *Node) setKMS(ctx context.Context, cfg kmip.Config) error {
	to, err := n.keys.tryKMS(ctx, cfg)
	if err != nil {
		return storeError(err)
	}
	if _, err := n.keys.configured(); err != nil { // nothing to rotate from
		defer n.look()
		return storeError(errors.Join(n.keys.commit(ctx, to.place(n.drives.epoch()+1)), to.store.Close()))
	}
	if n.keys.same(to.id) { // the key in use, reached another way: nothing to rotate
		return storeError(errors.Join(n.keys.commit(ctx, to.place(n.keys.epoch())), to.store.Close(), n.rekeyed()))
	}
	return n.rotate(ctx, to.target)
}

// placeConfig is what a journal keeps of a KMS to find it again.
func placeConfig(kms *kmsConfig) (json.RawMessage, error) {
	if kms == nil {
		return nil, nil
	}
	return json.Marshal(kms)
}
