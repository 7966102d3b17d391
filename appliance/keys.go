package appliance

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/local"
)

// errNoStore: the node has no key store, and drives are attached that some
// other key opens: making a key now would hide that theirs is missing.
var errNoStore = errors.New("there is no key store, but drives are attached that were formatted under another master key: restore this node's state folder, or choose with encryption_set_key_store")

// keys is the key store in use and, once fetched, the master key.
type keys struct {
	state *state
	log   *slog.Logger

	mu     sync.RWMutex // guards all below; never held while a store works
	config *storeConfig // nil: none chosen yet
	broken error        // why the configuration cannot be used
	store  keyring.Store
	key    *keyring.MasterKey // nil: sealed
	failed error              // of the last fetch
}

// openKeys reads the configuration. One that cannot be used does not keep the
// node from serving: its status says what is wrong.
func openKeys(s *state, log *slog.Logger) *keys {
	k := &keys{state: s, log: log}
	k.config, k.broken = s.loadStore()
	if k.broken != nil {
		log.Error("the key store cannot be used", "error", k.broken)
		k.config = nil
	}
	if k.config != nil {
		k.store = local.New(s.folder)
	}
	return k
}

// ensure makes the local store and its first key on a node that has none.
// strangers says that drives are attached that nobody here has a key for.
func (k *keys) ensure(strangers bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken != nil || k.config != nil {
		return k.broken
	}
	store := local.New(k.state.folder)
	if store.Health().Status == keyring.NotEncrypted {
		if strangers {
			return errNoStore
		}
		if err := store.Create(); err != nil {
			return err
		}
		k.log.Info("made the master key", "file", store.Path())
	}
	// A key without configuration is a first start that was cut here.
	now := time.Now().UTC()
	c := storeConfig{Type: keyring.Local, Epoch: 1, Created: now, LastKeyRotation: now}
	if err := k.state.saveStore(c); err != nil {
		return err
	}
	k.config, k.store = &c, store
	return nil
}

// fetch returns the master key, from memory if it is there. The key stays the
// ring's: the caller does not close it.
func (k *keys) fetch(ctx context.Context) (*keyring.MasterKey, error) {
	k.mu.RLock()
	key, store, broken := k.key, k.store, k.broken
	k.mu.RUnlock()
	switch {
	case key != nil:
		return key, nil
	case broken != nil:
		return nil, broken
	case store == nil:
		return nil, keyring.ErrNoKey
	}
	key, _, err := store.Fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.failed = key, err
	return key, err
}

// info is what a new keyslot's description says of the current key.
func (k *keys) info() blockcrypt.KeyInfo {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return blockcrypt.KeyInfo{Epoch: k.config.Epoch, Store: blockcrypt.StoreLocal}
}

// where says in a sentence where the master key lives.
func (k *keys) where() string {
	return "The master key is in " + k.state.folder.Path(local.FileName) + ", which only root can read. It is not encrypted: keep boot drive and data drives apart when they leave the house."
}

// have reports whether the master key is in memory.
func (k *keys) have() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.key != nil
}

func (k *keys) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	if k.key != nil {
		err = k.key.Close()
		k.key = nil
	}
	if k.store != nil {
		err = errors.Join(err, k.store.Close())
	}
	return err
}
