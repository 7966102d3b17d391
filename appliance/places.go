package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealbay/keyring"
	"sealbay/keyring/kmip"
	"sealbay/keyring/local"
)

// How the node's configuration follows what package keyring says of keys:
// places become stores and keystore.json, and the other way round.

// configured returns the configuration in use, or why there is none.
func (k *keys) configured() (storeConfig, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch {
	case k.broken != nil:
		return storeConfig{}, k.broken
	case k.config == nil:
		return storeConfig{}, sealed(keyring.ErrNoKey)
	}
	return *k.config, nil
}

func (k *keys) epoch() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.config.Epoch
}

// same reports whether id is the fingerprint of the key in use.
func (k *keys) same(id keyring.ID) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.key != nil && k.key.ID() == id
}

// rotations returns the journal, or why there is none.
func (k *keys) rotations() (*keyring.Journal, error) { return k.journal, k.journalErr }

// interrupted reports whether a rotation waits to be recovered.
func (k *keys) interrupted() bool { return k.journal != nil && k.journal.Interrupted() }

// unfinished reports whether a rotation waits to be recovered, or a key that
// nobody needs any more to be wiped.
func (k *keys) unfinished() bool {
	return k.interrupted() || slices.ContainsFunc(k.retained(), func(r keyring.Retained) bool { return len(r.Drives) == 0 })
}

// retained returns the keys kept for drives that were away.
func (k *keys) retained() []keyring.Retained {
	if k.journal == nil {
		return nil
	}
	return k.journal.Retained()
}

// retainedFor reports whether a former key is kept for the drive.
func (k *keys) retainedFor(uuid string) bool {
	for _, r := range k.retained() {
		for _, d := range r.Drives {
			if d.UUID == uuid {
				return true
			}
		}
	}
	return false
}

// current returns the key in use, which must be in memory, its place and its
// store.
func (k *keys) current() (*keyring.MasterKey, keyring.Place, keyring.Store) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	place := keyring.Place{Ref: keyring.Ref{Type: k.config.Type, ID: k.key.ID()}, Epoch: k.config.Epoch}
	if kms := k.config.KMS; kms != nil {
		place.KeyID = kms.KeyID
		place.Config, _ = placeConfig(kms) // strings, numbers and a time: cannot fail
	}
	return k.key, place, held{k.store, k.ring}
}

// open makes the store that leads to a place (keyring.Recovery.Open).
func (k *keys) open(p keyring.Place) (keyring.Store, error) {
	if p.Type == keyring.Local {
		return held{local.New(k.state.folder), k.ring}, nil
	}
	kms, err := kmsOf(p)
	if err != nil {
		return nil, err
	}
	s, err := k.kmsStore(kms)
	if err != nil {
		return nil, err
	}
	return held{s, k.ring}, nil
}

func kmsOf(p keyring.Place) (kmsConfig, error) {
	var kms kmsConfig
	if err := json.Unmarshal(p.Config, &kms); err != nil {
		return kms, fmt.Errorf("%w: the journal of rotations does not say how to reach %v: %w", keyring.ErrCorrupt, p.Ref, err)
	}
	if p.KeyID != "" {
		kms.KeyID = p.KeyID
	}
	return kms, nil
}

// kmsStore makes the store that a configuration describes. It asks nobody.
func (k *keys) kmsStore(kms kmsConfig) (*kmip.Store, error) {
	certs, err := k.files.load(kms.Certs)
	if err != nil {
		return nil, err
	}
	return kmip.New(kmip.Config{Hostname: kms.Hostname, Port: kms.Port, KeyID: kms.KeyID, Created: kms.Created, Certs: certs})
}

// commit makes durable that the current key is at p (keyring.Rotation.Commit).
func (k *keys) commit(_ context.Context, p keyring.Place) error {
	now := time.Now().UTC()
	c := storeConfig{Type: p.Type, Epoch: p.Epoch, Created: now, LastKeyRotation: now}
	if p.Type == keyring.KMS {
		kms, err := kmsOf(p)
		if err != nil {
			return err
		}
		c.KMS = &kms
	}
	store, err := k.build(c)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config != nil && k.config.Epoch == p.Epoch { // as it was, or repeated
		c.LastKeyRotation = k.config.LastKeyRotation
	}
	if err := k.state.saveStore(c); err != nil {
		return errors.Join(err, store.Close())
	}
	old := k.store
	k.config, k.broken, k.committed = &c, nil, p.ID
	k.use(store)
	if old != nil {
		return old.Close()
	}
	return nil
}

// settle makes the key in memory the one that was committed, and drops what
// neither it nor the journal leads to. Where the new key is not in memory, it
// is fetched by and by.
func (k *keys) settle() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.switchKey(); err != nil {
		return err
	}
	if k.key == nil || k.config == nil || k.journal == nil || k.journal.Interrupted() {
		return nil
	}
	return errors.Join(k.ring.keepOnly(k.key.ID()), k.tidyFiles())
}

// switchKey puts the committed key in place of the one before. The caller
// holds mu.
func (k *keys) switchKey() error {
	if k.committed == (keyring.ID{}) || k.key != nil && k.key.ID() == k.committed {
		return nil
	}
	key, _, err := k.ring.get(k.committed)
	if err != nil {
		return err
	}
	if k.key != nil {
		wipe(k.key)
	}
	k.key, k.retry = key, backoff{}
	return nil
}

// tidyFiles shreds certificates that nothing leads to. The caller holds mu.
func (k *keys) tidyFiles() error {
	keep := map[int]bool{}
	if k.config.KMS != nil {
		keep[k.config.KMS.Certs] = true
	}
	for _, p := range k.journal.Places() {
		if p.Type != keyring.KMS {
			continue
		}
		kms, err := kmsOf(p)
		if err != nil {
			return err
		}
		keep[kms.Certs] = true
	}
	return k.files.keepOnly(keep)
}

// tried is a KMS whose key was fetched.
type tried struct {
	target
	id keyring.ID
}

func (t tried) place(epoch uint64) keyring.Place {
	cfg, _ := placeConfig(t.kms) // strings, numbers and a time: cannot fail
	return keyring.Place{Ref: keyring.Ref{Type: keyring.KMS, ID: t.id, KeyID: t.kms.KeyID}, Epoch: epoch, Config: cfg}
}

// tryKMS fetches the key with a configuration that came from outside, and only
// then writes its certificates down, for the rotation to refer to.
func (k *keys) tryKMS(ctx context.Context, cfg kmip.Config) (tried, error) {
	s, err := kmip.New(cfg)
	if err != nil {
		return tried{}, err
	}
	key, info, err := s.Fetch(ctx)
	if err != nil {
		return tried{}, errors.Join(err, s.Close())
	}
	t := tried{target: target{store: s, want: keyring.NewKey{KeyID: cfg.KeyID}}, id: info.Ref.ID}
	set, err := k.files.save(cfg.Certs)
	t.kms = &kmsConfig{Hostname: cfg.Hostname, Port: cfg.Port, KeyID: cfg.KeyID, Created: time.Now().UTC(), Certs: set}
	return t, errors.Join(err, k.ring.add(key, info), key.Close())
}

// makeLocal makes a local store the node's; a key that is there already stays.
func (k *keys) makeLocal() error {
	store := local.New(k.state.folder)
	if err := store.Create(); err != nil && !errors.Is(err, local.ErrExists) {
		return err
	}
	return k.commit(context.Background(), keyring.Place{Ref: keyring.Ref{Type: keyring.Local}, Epoch: 1})
}
