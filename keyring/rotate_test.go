package keyring_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sealbay/keyring"
	"sealbay/keyring/durable"
	"sealbay/keyring/durable/durabletest"
	"sealbay/keyring/local"
)

// power is the mains of a node: files and drives hang on it together.
type power struct {
	mu    sync.Mutex // guards all below
	left  int        // durable steps until it fails; negative: never
	steps int
}

func (p *power) step() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left >= 0 && p.steps >= p.left {
		return durabletest.ErrCut
	}
	p.steps++
	return nil
}

func (p *power) cutAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps, p.left = 0, n
}

func (p *power) on() { p.cutAfter(-1) }

// disc is the durable part of a drive: which keys its header accepts. A change
// of the header is three durable steps, of which the second decides; the step
// that the power cut falls on may have happened or not.
type disc struct {
	name    keyring.DriveName
	power   *power
	mu      sync.Mutex // guards all below
	accepts map[keyring.ID]bool
	maybe   map[keyring.ID]bool // if not nil: the other content possible after a cut
	fail    map[string]error    // by operation
	hang    map[string]chan struct{}
	changes int
}

var errSlot = errors.New("input/output error")

func (d *disc) Name() keyring.DriveName { return d.name }

func (d *disc) wait(op string) error {
	d.mu.Lock()
	hang, err := d.hang[op], d.fail[op]
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return err
}

func (d *disc) change(op string, change func(map[keyring.ID]bool)) error {
	if err := d.wait(op); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	after := maps.Clone(d.accepts)
	change(after)
	if maps.Equal(after, d.accepts) {
		return nil
	}
	for i := range 3 {
		if i == 1 {
			d.maybe = after
		}
		if err := d.power.step(); err != nil {
			return err
		}
		if i == 1 {
			d.accepts, d.maybe = after, nil
			d.changes++
		}
	}
	return nil
}

func (d *disc) AddKey(_ context.Context, have, add *keyring.MasterKey, of keyring.Place) error {
	if of.Ref.ID != add.ID() {
		return fmt.Errorf("place %v describes another key than %v", of.Ref, add)
	}
	if ok, err := d.Opens(nil, have); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("%v does not open it", have))
	}
	return d.change("add", func(m map[keyring.ID]bool) { m[add.ID()] = true })
}

func (d *disc) KillKey(_ context.Context, keep, kill *keyring.MasterKey) error {
	if keep.ID() == kill.ID() {
		return errors.New("that is the last key")
	}
	if ok, err := d.Opens(nil, keep); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("%v does not open it", keep))
	}
	return d.change("kill", func(m map[keyring.ID]bool) { delete(m, kill.ID()) })
}

func (d *disc) Opens(_ context.Context, key *keyring.MasterKey) (bool, error) {
	if err := d.wait("open"); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepts[key.ID()], key.Use(func([]byte) error { return nil })
}

// kms is a key server outside of the node's power, with as much of a Store as
// the real one.
type kms struct {
	keys map[string][]byte // by key ID
	away bool
}

func (s *kms) store(keyID string) *kmsStore { return &kmsStore{kms: s, current: keyID} }

type kmsStore struct {
	*kms
	current, prepared string
}

func (s *kmsStore) Type() keyring.Type { return keyring.KMS }

func (s *kmsStore) get(id string) (*keyring.MasterKey, keyring.KeyInfo, error) {
	if s.away {
		return nil, keyring.KeyInfo{}, keyring.ErrUnreachable
	}
	raw, ok := s.keys[id]
	if !ok {
		return nil, keyring.KeyInfo{}, keyring.ErrKeyNotFound
	}
	k, err := keyring.NewMasterKey(bytes.Clone(raw))
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	return k, keyring.KeyInfo{Ref: keyring.Ref{Type: keyring.KMS, ID: k.ID(), KeyID: id}}, nil
}

func (s *kmsStore) Fetch(context.Context) (*keyring.MasterKey, keyring.KeyInfo, error) {
	return s.get(s.current)
}

func (s *kmsStore) Lookup(_ context.Context, r keyring.Ref) (*keyring.MasterKey, keyring.KeyInfo, error) {
	return s.get(r.KeyID)
}

func (s *kmsStore) Prepare(_ context.Context, w keyring.NewKey) (*keyring.MasterKey, keyring.KeyInfo, error) {
	s.prepared = w.KeyID
	return s.get(w.KeyID)
}

func (s *kmsStore) Commit(_ context.Context, r keyring.Ref) error   { s.current = r.KeyID; return nil }
func (s *kmsStore) Abort(context.Context) error                     { s.prepared = ""; return nil }
func (s *kmsStore) Retain(ctx context.Context, _ keyring.Ref) error { return s.Abort(ctx) }
func (s *kmsStore) Discard(_ context.Context, _ keyring.Ref) error  { return nil }
func (s *kmsStore) Health() keyring.Health                          { return keyring.Health{} }
func (s *kmsStore) Close() error                                    { return nil }

// node is what a rotation happens on: a boot drive with master.key,
// keystore.json and rotation.json, and data drives.
type node struct {
	t       *testing.T
	power   *power
	boot    *durabletest.Disk
	kms     *kms
	discs   []*disc
	absent  []*disc
	folder  *durable.Folder
	journal *keyring.Journal
}

const keystore = "keystore.json"

// newNode makes a node whose n drives open with the current key of a store of
// type typ.
func newNode(t *testing.T, typ keyring.Type, n int) *node {
	t.Helper()
	nd := &node{t: t, power: &power{left: -1}, boot: durabletest.NewDisk(0), kms: &kms{keys: map[string][]byte{}}}
	for _, id := range []string{"A", "B", "C"} {
		nd.kms.keys[id] = bytes.Repeat([]byte(id), 32)
	}
	nd.boot.OnChange(nd.power.step)
	nd.start()
	place := keyring.Place{Ref: keyring.Ref{Type: typ, KeyID: "A"}, Epoch: 1}
	if typ == keyring.Local {
		place.KeyID = ""
		if err := local.New(nd.folder).Create(); err != nil {
			t.Fatal(err)
		}
	}
	key, info, err := nd.open(place).Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	place.Ref = info.Ref
	if err := nd.commit(t.Context(), place); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		d := &disc{name: keyring.DriveName{UUID: fmt.Sprintf("uuid-%d", i), Serial: fmt.Sprintf("S%d", i)}, power: nd.power,
			accepts: map[keyring.ID]bool{key.ID(): true}, fail: map[string]error{}, hang: map[string]chan struct{}{}}
		nd.discs = append(nd.discs, d)
	}
	return nd
}

// start is what the daemon does first.
func (n *node) start() {
	n.t.Helper()
	var err error
	if n.folder, err = n.boot.Open(); err == nil {
		n.journal, err = keyring.OpenJournal(n.folder)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) open(p keyring.Place) keyring.Store {
	if p.Type == keyring.KMS {
		return n.kms.store(p.KeyID)
	}
	return local.New(n.folder)
}

func (n *node) openStore(p keyring.Place) (keyring.Store, error) { return n.open(p), nil }

func (n *node) commit(_ context.Context, p keyring.Place) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return n.folder.Replace(keystore, b)
}

// current returns the place that keystore.json leads to and its key.
func (n *node) current() (keyring.Place, *keyring.MasterKey) {
	n.t.Helper()
	buf := make([]byte, 4096)
	m, err := n.folder.Read(keystore, buf)
	var p keyring.Place
	if err == nil {
		err = json.Unmarshal(buf[:m], &p)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	key, info, err := n.open(p).Fetch(n.t.Context())
	if err != nil {
		n.t.Fatalf("current key: %v", err)
	}
	n.t.Cleanup(func() { key.Close() })
	p.Ref = info.Ref
	return p, key
}

func (n *node) drives() []keyring.Drive {
	var all []keyring.Drive
	for _, d := range n.discs {
		all = append(all, d)
	}
	return all
}

func (n *node) away() []keyring.DriveName {
	var all []keyring.DriveName
	for _, d := range n.absent {
		all = append(all, d.name)
	}
	return all
}

func (n *node) rotate(to keyring.Type, want keyring.NewKey) (keyring.Result, error) {
	old, key := n.current()
	from := n.open(old)
	target := from
	if to != old.Type {
		target = n.open(keyring.Place{Ref: keyring.Ref{Type: to}})
	}
	return n.journal.Rotate(n.t.Context(), keyring.Rotation{
		Key: key, Old: old, From: from, To: target, ToCfg: json.RawMessage(`{"host":"kms"}`), Want: want,
		Drives: n.drives(), Absent: n.away(), Commit: n.commit, Timeout: 200 * time.Millisecond,
	})
}

func (n *node) recovery() keyring.Recovery {
	return keyring.Recovery{Open: n.openStore, Drives: n.drives(), Absent: n.away(), Commit: n.commit, Timeout: 200 * time.Millisecond}
}

// settled checks that every attached drive opens with the current key and with
// nothing else, and that nothing is left of the rotation.
func (n *node) settled(what string) keyring.ID {
	n.t.Helper()
	_, key := n.current()
	for _, d := range n.discs {
		if len(d.accepts) != 1 || !d.accepts[key.ID()] {
			n.t.Fatalf("%s: %v accepts %v, current is %v, retained %+v", what, d.name, d.accepts, key, n.journal.Retained())
		}
	}
	if n.journal.Interrupted() || len(n.journal.Retained()) > 0 {
		n.t.Fatalf("%s: interrupted %v, retained %+v", what, n.journal.Interrupted(), n.journal.Retained())
	}
	return key.ID()
}

// everyDriveOpens checks promise 2.1 with what keystore.json says.
func (n *node) everyDriveOpens(what string) {
	n.t.Helper()
	_, key := n.current()
	for _, d := range slices.Concat(n.discs, n.absent) {
		if !d.accepts[key.ID()] {
			n.t.Fatalf("%s: %v accepts %v, but the current key is %v", what, d.name, d.accepts, key)
		}
	}
}

var ways = map[string]struct {
	from, to keyring.Type
	want     keyring.NewKey
}{
	"local":        {keyring.Local, keyring.Local, keyring.NewKey{}},
	"KMS":          {keyring.KMS, keyring.KMS, keyring.NewKey{KeyID: "B"}},
	"local to KMS": {keyring.Local, keyring.KMS, keyring.NewKey{KeyID: "B"}},
	"KMS to local": {keyring.KMS, keyring.Local, keyring.NewKey{}},
}

func TestRotate(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, w.from, 3)
			before, oldKey := n.current()
			res, err := n.rotate(w.to, w.want)
			if err != nil {
				t.Fatal(err)
			}
			n.settled("after")
			after, key := n.current()
			if key.Equal(oldKey) || after.Epoch != before.Epoch+1 || after.Type != w.to || res.New.Ref != after.Ref || len(res.Waiting) != 0 {
				t.Errorf("from %+v to %+v, %+v", before, after, res)
			}
			if last := n.journal.Last(); last.IsZero() || !last.Equal(res.Time) || time.Since(last) > time.Minute {
				t.Errorf("last rotation %v", last)
			}
			n.noTrace(oldKey)
			n.start()
			n.settled("after a restart")
			if !n.journal.Last().Equal(res.Time) {
				t.Errorf("last rotation after a restart %v", n.journal.Last())
			}
		})
	}
}

// noTrace checks that no file holds the key's bytes.
func (n *node) noTrace(key *keyring.MasterKey) {
	n.t.Helper()
	for name, content := range n.boot.Contents() {
		if err := key.Use(func(b []byte) error {
			if bytes.Contains(content, b) {
				return fmt.Errorf("%s still holds the old key", name)
			}
			return nil
		}); err != nil {
			n.t.Error(err)
		}
	}
}

// noKeyFile checks that nothing is left of a local store.
func (n *node) noKeyFile() {
	n.t.Helper()
	if _, err := n.folder.Read(local.FileName, make([]byte, 4096)); !errors.Is(err, fs.ErrNotExist) {
		n.t.Errorf("with a KMS there is still a key file: %v", err)
	}
}

// The power is cut after every durable step of a rotation over three drives,
// files and drives alike; for everything that the boot drive and the data
// drives may then hold, the node starts, every drive opens, and recovery ends
// with exactly one of the two keys opening each and the other refused.
func TestPowerCutAtEveryStep(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			oldWon, newWon, starts := 0, 0, 0
			for cut := 0; ; cut++ {
				n := newNode(t, w.from, 3)
				_, oldKey := n.current()
				n.power.cutAfter(cut)
				_, err := n.rotate(w.to, w.want)
				if err == nil {
					if cut < 25 {
						t.Errorf("a rotation of %d durable steps: was the power cut?", cut)
					}
					break
				}
				for i, after := range n.outcomes() {
					what := fmt.Sprintf("cut %d outcome %d", cut, i)
					after.start()
					after.everyDriveOpens(what)
					if err := after.journal.Recover(t.Context(), after.recovery()); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					starts++
					if after.settled(what) == oldKey.ID() {
						oldWon++
					} else {
						newWon++
						after.noTrace(oldKey)
						if w.to == keyring.KMS {
							after.noKeyFile()
						}
					}
				}
			}
			t.Logf("%d restarts: %d rolled back, %d finished", starts, oldWon, newWon)
			if oldWon == 0 || newWon == 0 {
				t.Errorf("rolled back %d times, finished %d times", oldWon, newWon)
			}
		})
	}
}

// outcomes returns a node, with power, for everything that its drives may
// hold after the cut: any content of the boot drive that the model allows, and
// each data drive before and after the step that the cut fell on.
func (n *node) outcomes() []*node {
	var all []*node
	for _, late := range []bool{false, true} {
		for _, boot := range n.boot.Outcomes() {
			c := &node{t: n.t, power: &power{left: -1}, boot: boot, kms: n.kms}
			boot.OnChange(c.power.step)
			ambiguous := false
			for _, d := range n.discs {
				e := &disc{name: d.name, power: c.power, accepts: maps.Clone(d.accepts)}
				if d.maybe != nil {
					ambiguous = true
					if late {
						e.accepts = maps.Clone(d.maybe)
					}
				}
				c.discs = append(c.discs, e)
			}
			for _, d := range n.absent {
				c.absent = append(c.absent, &disc{name: d.name, power: c.power, accepts: maps.Clone(d.accepts)})
			}
			if ambiguous || !late {
				all = append(all, c)
			}
		}
	}
	return all
}

// The power fails again during the recovery: every 7th first cut with every
// 3rd second one: all with all would take minutes.
func TestSecondPowerCut(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for cut := 0; ; cut += 7 {
				n := newNode(t, w.from, 2)
				n.power.cutAfter(cut)
				if _, err := n.rotate(w.to, w.want); err == nil {
					return
				}
				first := n.outcomes()
				for i := range first {
					if i != 0 && i != len(first)-1 {
						continue
					}
					for second := 0; ; second += 3 {
						m := n.outcomes()[i]
						m.start()
						m.power.cutAfter(second)
						done := m.journal.Recover(t.Context(), m.recovery()) == nil
						for j, after := range m.outcomes() {
							what := fmt.Sprintf("cuts %d/%d, %d/%d", cut, i, second, j)
							after.start()
							after.everyDriveOpens(what)
							if err := after.journal.Recover(t.Context(), after.recovery()); err != nil {
								t.Fatalf("%s: %v", what, err)
							}
							after.settled(what)
						}
						if done {
							break
						}
					}
				}
			}
		})
	}
}

// A drive that fails or hangs at any operation of 3.3 has the rotation rolled
// back, with every header opening under the old key.
func TestFailingDriveRollsBack(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, w.from, 3)
			n.discs[1].fail["add"] = errSlot
			before, _ := n.current()
			_, err := n.rotate(w.to, w.want)
			if !errors.Is(err, keyring.ErrRolledBack) || !errors.Is(err, errSlot) || !strings.Contains(err.Error(), "drive S1 (uuid-1): input/output error") {
				t.Fatalf("%v", err)
			}
			n.settled("rolled back")
			if now, _ := n.current(); now.Ref != before.Ref || !n.journal.Last().IsZero() {
				t.Errorf("from %v to %v, last %v", before, now, n.journal.Last())
			}
			delete(n.discs[1].fail, "add")
			if _, err := n.rotate(w.to, w.want); err != nil {
				t.Fatalf("the next rotation: %v", err)
			}
			n.settled("then rotated")
		})
	}
}

func TestHangingDriveRollsBack(t *testing.T) {
	n := newNode(t, keyring.Local, 3)
	wake := make(chan struct{})
	n.discs[2].hang["add"] = wake
	start := time.Now()
	_, err := n.rotate(keyring.Local, keyring.NewKey{})
	if !errors.Is(err, keyring.ErrRolledBack) || !strings.Contains(err.Error(), "S2 (uuid-2): it did not answer in time") {
		t.Fatalf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	r := n.journal.Retained()
	if len(r) != 1 || len(r[0].Drives) != 1 || r[0].Drives[0].Serial != "S2" {
		t.Fatalf("retained %+v: the drive may still take the new key when it wakes up", r)
	}
	close(wake)
	n.discs[2].mu.Lock()
	delete(n.discs[2].hang, "add")
	n.discs[2].mu.Unlock()
	for range 100 { // it adds the key after all
		n.discs[2].mu.Lock()
		late := len(n.discs[2].accepts) == 2
		n.discs[2].mu.Unlock()
		if late {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.everyDriveOpens("after the roll-back")
	place, key := n.current()
	if err := n.journal.Settle(t.Context(), n.discs[2], key, place, n.recovery()); err != nil {
		t.Fatal(err)
	}
	n.settled("settled")
}

// A drive that fails in 3.5 keeps the old key retained; the others are done.
func TestDriveThatKeepsTheOldKey(t *testing.T) {
	n := newNode(t, keyring.Local, 3)
	_, oldKey := n.current()
	n.discs[0].fail["kill"] = errSlot
	res, err := n.rotate(keyring.Local, keyring.NewKey{})
	if !errors.Is(err, keyring.ErrUnsettled) || !errors.Is(err, errSlot) || len(res.Waiting) != 1 || res.Waiting[0].Serial != "S0" {
		t.Fatalf("%+v, %v", res, err)
	}
	place, key := n.current()
	for i, d := range n.discs {
		if !d.accepts[key.ID()] || d.accepts[oldKey.ID()] != (i == 0) {
			t.Errorf("drive %d accepts %v", i, d.accepts)
		}
	}
	n.start()
	if err := n.journal.Settle(t.Context(), n.discs[0], key, place, n.recovery()); !errors.Is(err, errSlot) {
		t.Errorf("%v", err)
	}
	delete(n.discs[0].fail, "kill")
	if err := n.journal.Settle(t.Context(), n.discs[0], key, place, n.recovery()); err != nil {
		t.Fatal(err)
	}
	n.settled("settled")
	n.noTrace(oldKey)
}

// liar says that it did what it did not: only reading anew finds out.
type liar struct {
	*disc
	adds, kills bool // truly
}

func (l liar) AddKey(ctx context.Context, have, add *keyring.MasterKey, of keyring.Place) error {
	if !l.adds {
		return nil
	}
	return l.disc.AddKey(ctx, have, add, of)
}

func (l liar) KillKey(ctx context.Context, keep, kill *keyring.MasterKey) error {
	if !l.kills {
		return nil
	}
	return l.disc.KillKey(ctx, keep, kill)
}

func TestLyingDrives(t *testing.T) {
	for _, c := range []struct {
		adds, kills bool
		want        error
		say         string
	}{
		{false, true, keyring.ErrRolledBack, "does not open with the key that it should"},
		{true, false, keyring.ErrUnsettled, "still opens with the key that was removed"},
	} {
		n := newNode(t, keyring.Local, 2)
		old, key := n.current()
		_, err := n.journal.Rotate(t.Context(), keyring.Rotation{Key: key, Old: old, From: n.open(old), To: n.open(old),
			Drives: []keyring.Drive{n.discs[0], liar{n.discs[1], c.adds, c.kills}}, Commit: n.commit})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), "S1") {
			t.Errorf("%v, want %v: %s", err, c.want, c.say)
		}
		n.everyDriveOpens("after a lie")
		if c.kills { // rolled back
			n.settled("rolled back")
		} else if len(n.journal.Retained()) != 1 {
			t.Error("the key that the drive still accepts is not retained")
		}
	}
}

// The journal was lost with a key prepared: the next rotation drops it.
func TestStrayPreparedKey(t *testing.T) {
	n := newNode(t, keyring.Local, 2)
	stray, _, err := local.New(n.folder).Prepare(t.Context(), keyring.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.rotate(keyring.Local, keyring.NewKey{}); err != nil {
		t.Fatal(err)
	}
	n.settled("rotated")
	n.noTrace(stray)
}

// A drive is away during two rotations and comes back.
func TestAbsentDrive(t *testing.T) {
	for _, second := range []keyring.Type{keyring.Local, keyring.KMS} {
		n := newNode(t, keyring.Local, 3)
		_, first := n.current()
		n.absent, n.discs = n.discs[2:], n.discs[:2]
		if _, err := n.rotate(keyring.Local, keyring.NewKey{}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.rotate(second, keyring.NewKey{KeyID: map[keyring.Type]string{keyring.KMS: "B"}[second]}); err != nil {
			t.Fatal(err)
		}
		r := n.journal.Retained()
		if len(r) != 2 || r[0].Place.ID != first.ID() || r[0].Drives[0].Serial != "S2" {
			t.Fatalf("retained %+v", r)
		}
		n.start()
		back := n.absent[0]
		place, key := n.current()
		if err := n.journal.Settle(t.Context(), back, key, place, n.recovery()); err != nil {
			t.Fatal(err)
		}
		n.absent, n.discs = nil, append(n.discs, back)
		n.settled("back")
		n.noTrace(first)
	}
}

// The power is cut at every step while a returned drive is settled.
func TestPowerCutDuringSettle(t *testing.T) {
	for cut := 0; ; cut++ {
		n := newNode(t, keyring.Local, 2)
		n.absent, n.discs = n.discs[1:], n.discs[:1]
		if _, err := n.rotate(keyring.Local, keyring.NewKey{}); err != nil {
			t.Fatal(err)
		}
		n.discs, n.absent = append(n.discs, n.absent...), nil
		place, key := n.current()
		n.power.cutAfter(cut)
		err := n.journal.Settle(t.Context(), n.discs[1], key, place, n.recovery())
		for i, after := range n.outcomes() {
			what := fmt.Sprintf("cut %d outcome %d", cut, i)
			after.start()
			if err := after.journal.Recover(t.Context(), after.recovery()); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			place, key := after.current()
			if err := after.journal.Settle(t.Context(), after.discs[1], key, place, after.recovery()); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			after.settled(what)
		}
		if err == nil {
			if cut < 10 {
				t.Errorf("only %d cuts", cut)
			}
			return
		}
	}
}

func TestForgottenDrive(t *testing.T) {
	n := newNode(t, keyring.Local, 2)
	_, oldKey := n.current()
	n.absent, n.discs = n.discs[1:], n.discs[:1]
	if _, err := n.rotate(keyring.Local, keyring.NewKey{}); err != nil {
		t.Fatal(err)
	}
	if err := n.journal.Forget(t.Context(), n.absent[0].name, n.recovery()); err != nil {
		t.Fatal(err)
	}
	n.settled("forgotten")
	n.noTrace(oldKey)
}

// A drive that no key opens is not struck off, and what it may need stays.
func TestDriveThatNothingOpens(t *testing.T) {
	n := newNode(t, keyring.Local, 2)
	n.absent, n.discs = n.discs[1:], n.discs[:1]
	if _, err := n.rotate(keyring.Local, keyring.NewKey{}); err != nil {
		t.Fatal(err)
	}
	n.absent[0].accepts = map[keyring.ID]bool{}
	place, key := n.current()
	if err := n.journal.Settle(t.Context(), n.absent[0], key, place, n.recovery()); err == nil {
		t.Error("it was settled")
	}
	if len(n.journal.Retained()) != 1 {
		t.Error("the key that it may need is gone")
	}
}

// The KMS is away, or a key was destroyed, when the node comes back.
func TestRecoveryWithoutAKey(t *testing.T) {
	type outcome struct {
		recovers bool
		inForce  string // "" keep waiting
	}
	for _, c := range []struct {
		name  string
		phase string
		spoil func(*kms)
		want  outcome
	}{
		{"adding, new key destroyed", "adding", func(k *kms) { delete(k.keys, "B") }, outcome{true, "A"}},
		{"adding, old key destroyed", "adding", func(k *kms) { delete(k.keys, "A") }, outcome{true, "B"}},
		{"adding, KMS away", "adding", func(k *kms) { k.away = true }, outcome{false, ""}},
		{"committing, new key destroyed", "committing", func(k *kms) { delete(k.keys, "B") }, outcome{true, "A"}},
		{"committing, old key destroyed", "committing", func(k *kms) { delete(k.keys, "A") }, outcome{true, "B"}},
		{"committing, KMS away", "committing", func(k *kms) { k.away = true }, outcome{false, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, keyring.KMS, 3)
			n.cutInPhase(c.phase)
			c.spoil(n.kms)
			n.start()
			err := n.journal.Recover(t.Context(), n.recovery())
			if (err == nil) != c.want.recovers || n.journal.Interrupted() == c.want.recovers {
				t.Fatalf("Recover: %v, interrupted %v", err, n.journal.Interrupted())
			}
			if !c.want.recovers {
				n.kms.away = false
				if err := n.journal.Recover(t.Context(), n.recovery()); err != nil {
					t.Fatal(err)
				}
				n.settled("the KMS is back")
				return
			}
			place, key := n.current()
			if place.KeyID != c.want.inForce {
				t.Errorf("in force is %v", place)
			}
			n.everyDriveOpens("recovered")
			if r := n.journal.Retained(); len(r) != 1 || len(r[0].Drives) != 3 || r[0].Place.KeyID == c.want.inForce {
				t.Errorf("retained %+v", r)
			}
			for _, d := range n.discs {
				if err := n.journal.Settle(t.Context(), d, key, place, n.recovery()); err != nil {
					t.Error(err)
				}
			}
			if len(n.journal.Retained()) != 0 {
				t.Errorf("retained %+v", n.journal.Retained())
			}
		})
	}
}

// cutInPhase has a KMS rotation from A to B cut when the drives hold both keys.
func (n *node) cutInPhase(phase string) {
	n.t.Helper()
	stop := errors.New("cut here")
	old, key := n.current()
	r := keyring.Rotation{Key: key, Old: old, From: n.open(old), To: n.open(old), Want: keyring.NewKey{KeyID: "B"}, Drives: n.drives(),
		Commit: func(context.Context, keyring.Place) error { return stop }}
	if phase == "adding" { // the journal of "committing" does not get through
		n.boot.OnChange(func() error {
			if len(n.discs[2].accepts) == 2 && len(n.discs[0].accepts) == 2 && len(n.discs[1].accepts) == 2 {
				return durabletest.ErrCut
			}
			return nil
		})
	}
	if _, err := n.journal.Rotate(n.t.Context(), r); err == nil {
		n.t.Fatal("it was not cut")
	}
	n.boot.OnChange(func() error { return nil })
	if b := n.boot.Contents()[keyring.JournalFile]; !strings.Contains(string(b), `"phase": "`+phase+`"`) {
		n.t.Fatalf("the journal is %s", b)
	}
}

// Away from a KMS that has lost the key: the one in memory is enough.
func TestRotateAwayFromALostKMS(t *testing.T) {
	n := newNode(t, keyring.KMS, 3)
	old, key := n.current()
	n.kms.keys, n.kms.away = nil, true
	_, err := n.journal.Rotate(t.Context(), keyring.Rotation{Key: key, Old: old, From: n.open(old), To: local.New(n.folder), Drives: n.drives(), Commit: n.commit})
	if err != nil {
		t.Fatal(err)
	}
	n.settled("now local")
}

func TestRefusedRotations(t *testing.T) {
	n := newNode(t, keyring.KMS, 1)
	before := n.boot.Contents()[keystore]
	n.kms.keys["same"] = bytes.Clone(n.kms.keys["A"])
	for id, want := range map[string]string{"A": "same bytes as the current key", "same": "same bytes as the current key", "none": "KMS key not found"} {
		if _, err := n.rotate(keyring.KMS, keyring.NewKey{KeyID: id}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("key %s: %v", id, err)
		}
		n.settled("refused")
	}
	if n.discs[0].changes != 0 || !bytes.Equal(before, n.boot.Contents()[keystore]) {
		t.Error("something was changed")
	}
	n.cutInPhase1()
	if _, err := n.rotate(keyring.KMS, keyring.NewKey{KeyID: "C"}); !errors.Is(err, keyring.ErrInterrupted) {
		t.Errorf("%v", err)
	}
}

func (n *node) cutInPhase1() {
	old, key := n.current()
	_, err := n.journal.Rotate(n.t.Context(), keyring.Rotation{Key: key, Old: old, From: n.open(old), To: n.open(old), Want: keyring.NewKey{KeyID: "B"},
		Drives: n.drives(), Commit: func(context.Context, keyring.Place) error { return errors.New("disk full") }})
	if err == nil || !n.journal.Interrupted() {
		n.t.Fatalf("%v", err)
	}
}

// A rotation back to a key that is retained for an absent drive.
func TestRotateBackToARetainedKey(t *testing.T) {
	n := newNode(t, keyring.KMS, 2)
	n.absent, n.discs = n.discs[1:], n.discs[:1]
	for _, id := range []string{"B", "A"} {
		if _, err := n.rotate(keyring.KMS, keyring.NewKey{KeyID: id}); err != nil {
			t.Fatal(err)
		}
	}
	r := n.journal.Retained()
	if len(r) != 1 || r[0].Place.KeyID != "B" {
		t.Fatalf("retained %+v", r)
	}
	n.everyDriveOpens("back at A")
	place, key := n.current()
	if err := n.journal.Settle(t.Context(), n.absent[0], key, place, n.recovery()); err != nil {
		t.Fatal(err)
	}
	n.settled("settled")
}

func TestDamagedJournal(t *testing.T) {
	n := newNode(t, keyring.Local, 1)
	if _, err := n.rotate(keyring.Local, keyring.NewKey{}); err != nil {
		t.Fatal(err)
	}
	good := n.boot.Contents()[keyring.JournalFile]
	for name, b := range map[string][]byte{
		"empty":         nil,
		"half":          good[:len(good)/2],
		"twice":         append(bytes.Clone(good), good...),
		"version":       bytes.Replace(good, []byte(`"version": 1`), []byte(`"version": 9`), 1),
		"unknown field": bytes.Replace(good, []byte(`{`), []byte(`{"surprise": 1,`), 1),
		"phase":         []byte(`{"version":1,"last_key_rotation_time":"2026-01-01T00:00:00Z","active":{"phase":"x","old":{"type":"Local","id":"0000000000000000","epoch":1},"new":{"type":"Local","id":"0000000000000000","epoch":1}}}`),
	} {
		n.boot.Put(keyring.JournalFile, b)
		if _, err := keyring.OpenJournal(n.folder); !errors.Is(err, keyring.ErrCorrupt) || !strings.Contains(err.Error(), "/perm/rotation.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"last_key_rotation_time":"2026-01-01T00:00:00Z","active":{"phase":"adding","old":{"type":"Local","id":"0000000000000000","epoch":1},"new":{"type":"KMS","id":"0000000000000000","key_id":"x","epoch":1}},"retained":[{"place":{"type":"KMS","id":"0000000000000000","epoch":3},"since":"2026-01-01T00:00:00Z","drives":[]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := durabletest.NewDisk(0)
		d.Put(keyring.JournalFile, b)
		folder, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		j, err := keyring.OpenJournal(folder)
		if err != nil {
			if !errors.Is(err, keyring.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		j.Places()
	})
}

// 24 drives, each of whose operations takes as long as a real header's: they
// are worked on side by side.
func TestManyDrives(t *testing.T) {
	n := newNode(t, keyring.Local, 24)
	var slow []keyring.Drive
	for _, d := range n.discs {
		slow = append(slow, slowDrive{d})
	}
	old, key := n.current()
	start := time.Now()
	_, err := n.journal.Rotate(t.Context(), keyring.Rotation{Key: key, Old: old, From: n.open(old), To: n.open(old), Drives: slow, Commit: n.commit})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("24 drives of 100 ms an operation: %v", took)
	if took > 2*time.Second {
		t.Errorf("24 drives took %v: one after the other?", took)
	}
	n.settled("24 drives")
}

type slowDrive struct{ *disc }

func (d slowDrive) AddKey(ctx context.Context, have, add *keyring.MasterKey, of keyring.Place) error {
	time.Sleep(100 * time.Millisecond)
	return d.disc.AddKey(ctx, have, add, of)
}

func (d slowDrive) KillKey(ctx context.Context, keep, kill *keyring.MasterKey) error {
	time.Sleep(100 * time.Millisecond)
	return d.disc.KillKey(ctx, keep, kill)
}

func (d slowDrive) Opens(ctx context.Context, key *keyring.MasterKey) (bool, error) {
	time.Sleep(100 * time.Millisecond)
	return d.disc.Opens(ctx, key)
}
