package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/kmip"
	"sealbay/keyring/local"
)

// errNoStore: the node has no key store, and drives are attached that some
// other key opens: making a key now would hide that theirs is missing.
var errNoStore = errors.New("there is no key store, but drives are attached that were formatted under another master key: restore this node with keyring_restore, or choose a store with encryption_set_key_store")

// keys is the key store in use and, once fetched, the master key. The key
// stays in memory while the node runs, whatever becomes of its store.
type keys struct {
	state *state
	files *kmsFiles
	log   *slog.Logger
	wake  func() // called when the store may have the key again

	journal    *keyring.Journal // of rotations
	journalErr error            // why it cannot be used
	ring       *ring            // every master key in memory, by fingerprint

	mu     sync.RWMutex // guards all below; never held while a store works
	config *storeConfig // nil: none chosen yet
	broken error        // why the configuration cannot be used
	store  keyring.Store
	key    *keyring.MasterKey // nil: sealed
	poll   context.CancelFunc // ends the health poll of a KMS
	retry  backoff
	// committed is the fingerprint of the key that config leads to, where a
	// rotation or recovery said so.
	committed keyring.ID
}

// openKeys is loadKeys with the folder of KMS certificates that belongs to s.
func openKeys(s *state, log *slog.Logger, wake func()) (*keys, error) {
	files, err := openKMSFiles(s)
	if err != nil {
		return nil, err
	}
	return loadKeys(s, files, log, wake)
}

// loadKeys reads the configuration. One that cannot be used does not keep the
// node from serving: its status says what is wrong.
func loadKeys(s *state, files *kmsFiles, log *slog.Logger, wake func()) (*keys, error) {
	k := &keys{state: s, files: files, log: log, wake: wake, ring: newRing()}
	if k.journal, k.journalErr = keyring.OpenJournal(s.folder); k.journalErr != nil {
		log.Error("the journal of rotations cannot be used: no rotation is possible, and no former key is known", "error", k.journalErr)
	}
	config, err := s.loadStore()
	var store keyring.Store
	if err == nil && config != nil {
		store, err = k.build(*config)
	}
	if err != nil {
		log.Error("the key store cannot be used", "error", err)
		k.broken = err
		return k, nil
	}
	k.config = config
	k.use(store)
	return k, nil
}

// build makes the store that a configuration describes. It asks no server.
func (k *keys) build(c storeConfig) (keyring.Store, error) {
	if c.Type == keyring.Local {
		return local.New(k.state.folder), nil
	}
	if c.KMS == nil {
		return nil, k.state.check(storeFile, c.Version, false, "kms", "")
	}
	return k.kmsStore(*c.KMS)
}

// use makes store, which may be nil, the one in use and has its health polled
// if it is a KMS. The caller holds mu or is alone.
func (k *keys) use(store keyring.Store) {
	k.stopPolling()
	k.store, k.retry = store, backoff{}
	kms, ok := store.(*kmip.Store)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.poll = cancel
	go kms.Poll(ctx, kmip.DefaultPoll, func(h keyring.Health) {
		k.log.Info("KMS", "status", h.Status, "detail", h.Detail)
		if h.Status == keyring.Available {
			k.mu.Lock()
			k.retry = backoff{}
			k.mu.Unlock()
			k.wake()
		}
	})
}

func (k *keys) stopPolling() {
	if k.poll != nil {
		k.poll()
		k.poll = nil
	}
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
	k.config = &c
	k.use(store)
	return nil
}

// fetch returns the master key, from memory if it is there, else from the
// store, which after a failure is asked again only when the back-off allows.
// The key stays the ring's: the caller does not close it.
func (k *keys) fetch(ctx context.Context) (*keyring.MasterKey, error) {
	k.mu.RLock()
	key, store, wait := k.key, k.store, k.retry.wait()
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	if wait != nil {
		return nil, wait
	}
	key, info, err := k.fetchStore(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.retry.failed(err)
		return nil, err
	}
	if k.key != nil || k.store != store { // somebody was faster
		return k.key, key.Close()
	}
	k.key = key
	return key, k.ring.add(key, info)
}

// fetchStore gets the key from its store, whether or not it is in memory. The
// caller closes it.
func (k *keys) fetchStore(ctx context.Context) (*keyring.MasterKey, keyring.KeyInfo, error) {
	k.mu.RLock()
	store, broken := k.store, k.broken
	k.mu.RUnlock()
	switch {
	case broken != nil:
		return nil, keyring.KeyInfo{}, broken
	case store == nil:
		return nil, keyring.KeyInfo{}, keyring.ErrNoKey
	}
	return store.Fetch(ctx)
}

// backoff spaces the attempts to get a key: 1 s after the first failure, twice
// as long after each further one, at most a minute.
type backoff struct {
	last  error
	until time.Time
	step  time.Duration
}

func (b *backoff) failed(err error) {
	b.step = min(max(2*b.step, time.Second), time.Minute)
	b.last, b.until = err, time.Now().Add(b.step)
}

// wait returns the last failure while it is too early for another attempt.
func (b *backoff) wait() error {
	if time.Now().Before(b.until) {
		return b.last
	}
	return nil
}

// keyInfo is what the header says of a key: epoch counts the keys of the node.
func keyInfo(epoch uint64, ref keyring.Ref) blockcrypt.KeyInfo {
	if ref.Type == keyring.KMS {
		return blockcrypt.KeyInfo{Epoch: epoch, Store: blockcrypt.StoreKMS, KMIPKeyID: ref.KeyID}
	}
	return blockcrypt.KeyInfo{Epoch: epoch, Store: blockcrypt.StoreLocal}
}

// info describes the current key for a new keyslot.
func (k *keys) info() blockcrypt.KeyInfo {
	k.mu.RLock()
	defer k.mu.RUnlock()
	ref := keyring.Ref{Type: k.config.Type}
	if k.config.KMS != nil {
		ref.KeyID = k.config.KMS.KeyID
	}
	return keyInfo(k.config.Epoch, ref)
}

// where says in a sentence where the master key lives.
func (k *keys) where() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if c := k.config.KMS; c != nil {
		return fmt.Sprintf("The master key is key %s of the KMS %s and was never written to a drive.", c.KeyID, c.Hostname)
	}
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
	old := k.store
	k.use(nil)
	var err error
	if k.key != nil {
		// The process ends soon; a drive that hangs must not keep it.
		_, _ = within(time.Second, k.key.Close, func(error) {})
		k.key = nil
	}
	if old != nil {
		err = old.Close()
	}
	return errors.Join(err, k.ring.keepOnly(keyring.ID{}), k.files.folder.Close())
}
