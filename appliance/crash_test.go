package appliance

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	kmipgo "github.com/ovh/kmip-go"

	"sealbay/appliance/internal/sysblock"
	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
	"sealbay/keyring"
	"sealbay/keyring/durable/durabletest"
	"sealbay/keyring/keyringtest"
)

// world is a node's boot drive and data drives in memory, whose power can be
// cut before any write, of all of them together.
type world struct {
	boot, copies, certs *durabletest.Disk // the state folder, headers and kms in it
	drives              []*blocktest.Memory
	marks               [][]byte // data on each drive
}

const (
	worldDrives = 3
	worldSize   = blockcrypt.MinSize + 64<<10 // bytes
)

// newWorld makes drives formatted under a local key, with data on them.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{boot: durabletest.NewDisk(0), copies: durabletest.NewDisk(0), certs: durabletest.NewDisk(0)}
	for i := range worldDrives {
		w.drives = append(w.drives, blocktest.New(worldSize, blocktest.Options{Path: fmt.Sprintf("memory%d", i)}))
	}
	n := w.node(t)
	for _, m := range w.drives {
		n.drives.drives = append(n.drives.drives, &drive{found: found(m), dev: m, state: rest.DriveBlank})
	}
	if err := n.keys.ensure(false); err != nil {
		t.Fatal(err)
	}
	key, err := n.keys.fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range n.drives.drives {
		if err := key.Use(func(kek []byte) error {
			_, err := blockcrypt.Format(d.dev, kek, blockcrypt.FormatOptions{Key: n.keys.info()})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	n = w.node(t)
	if err := w.bringUp(t, n); err != nil {
		t.Fatal(err)
	}
	for i, d := range n.drives.drives {
		mark := make([]byte, blockcrypt.SectorSize)
		pattern(mark, d.rec.UUID, i, 7)
		w.marks = append(w.marks, mark)
		if _, err := d.vol.WriteAt(mark, 0); err != nil {
			t.Fatal(err)
		}
		if err := d.vol.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func found(m *blocktest.Memory) *sysblock.Drive {
	return &sysblock.Drive{Path: m.Info().Path, Serial: m.Info().Path, Size: m.Info().Size, ID: m.Info().Path}
}

// node puts a node together over the world, as New does over files.
func (w *world) node(t *testing.T) *Node {
	t.Helper()
	boot, err := w.boot.Open()
	if err != nil {
		t.Fatal(err)
	}
	copies, err := w.copies.Open()
	if err != nil {
		t.Fatal(err)
	}
	certs, err := w.certs.Open()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	n := &Node{log: log, state: &state{folder: boot}, rehearsals: newRehearsals(), kick: make(chan struct{}, 1)}
	if n.keys, err = loadKeys(n.state, &kmsFiles{certs, w.certs.Names}, log, n.look); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.keys.stopPolling() })
	n.drives = &table{state: n.state, log: log, headers: &headers{copies}, changed: n.rehearsals.changed}
	return n
}

// bringUp is Node.bringUp without the search for drives.
func (w *world) bringUp(t *testing.T, n *Node) error {
	t.Helper()
	records, err := n.state.loadDrives()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, r := range records {
		known[r.UUID] = true
	}
	for _, m := range w.drives {
		l := identify(m, found(m))
		n.drives.drives = append(n.drives.drives, &drive{found: found(m), dev: m, rec: l.rec, known: known[l.rec.UUID], state: l.state, detail: l.detail})
	}
	return n.openDrives(t.Context(), false)
}

// crash returns the world as a power cut now may leave it.
func (w *world) crash(rng *rand.Rand) *world {
	c := *w
	c.boot = pick(rng, w.boot.Outcomes())
	c.copies = pick(rng, w.copies.Outcomes())
	c.certs = pick(rng, w.certs.Outcomes())
	c.drives = nil
	for _, m := range w.drives {
		c.drives = append(c.drives, m.Crash(pick(rng, []blocktest.Keep{blocktest.KeepNone, blocktest.KeepAll, blocktest.KeepLast, blocktest.TearLast(8), blocktest.KeepRandom(rng)})))
	}
	return &c
}

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

var errPowerOff = errors.New("power is off")

// cutAfter lets n more writes to any drive or file of the world happen, and
// nothing after them. It returns how many there were so far.
func (w *world) cutAfter(n int) (count func() int) {
	var done atomic.Int64
	allowed := func() bool { return done.Add(1) <= int64(n) }
	hook := func() error {
		if !allowed() {
			return errPowerOff
		}
		return nil
	}
	w.boot.OnChange(hook)
	w.copies.OnChange(hook)
	w.certs.OnChange(hook)
	for _, m := range w.drives {
		m.Fail(func(_ int, r *blockdev.Request) blocktest.Fault {
			if r.Op == blockdev.Read {
				if done.Load() > int64(n) {
					return blocktest.Fault{Err: blocktest.ErrPowerCut}
				}
				return blocktest.Fault{}
			}
			if !allowed() {
				return blocktest.Fault{Err: blocktest.ErrPowerCut}
			}
			return blocktest.Fault{}
		})
	}
	return func() int { return int(done.Load()) }
}

// check proves that the node is whole again: every drive open with its data
// intact, one keyslot each, nothing left of the rotation.
func (w *world) check(t *testing.T, n *Node) {
	t.Helper()
	if n.keys.interrupted() || len(n.keys.retained()) > 0 {
		t.Errorf("not settled: interrupted %v, retained %v", n.keys.interrupted(), n.keys.retained())
	}
	b := make([]byte, blockcrypt.SectorSize)
	for i, d := range n.drives.drives {
		if d.vol == nil {
			t.Errorf("%s is %s: %s", d.name(), d.state, d.detail)
			continue
		}
		if _, err := d.vol.ReadAt(b, 0); err != nil || string(b) != string(w.marks[i]) {
			t.Errorf("%s: data lost: %v", d.name(), err)
		}
		sum, err := blockcrypt.Inspect(d.dev)
		if err != nil || len(sum.Slots) != 1 {
			t.Errorf("%s: keyslots %v, %v; want one", d.name(), sum.Slots, err)
		}
	}
}

// refuses proves that every header refuses a key.
func (w *world) refuses(t *testing.T, n *Node, key *keyring.MasterKey) {
	t.Helper()
	for _, d := range n.drives.drives {
		open, err := keyslots{d}.Opens(t.Context(), key)
		if err != nil || open {
			t.Errorf("%s opens with %v: %v, %v", d.name(), key, open, err)
		}
	}
}

// thoroughEnv has the power cut before every write of every kind of rotation,
// which takes minutes.
const thoroughEnv = "SEALBAY_TEST_THOROUGH"

// TestCutAtEveryWrite cuts the power before every write of a rotation over
// three drives. The next start ends with every drive open, its data intact, and
// one of the two keys refused by every header.
func TestCutAtEveryWrite(t *testing.T) {
	t.Parallel()
	server := keyringtest.NewServer(t)
	server.AddKey("key-2", nil, kmipgo.StateActive)
	toKMS := func(id string) func(*Node) error {
		return func(n *Node) error { return n.SetKeyStore(t.Context(), kmsRequest(t, server, id)) }
	}
	rotate := func(id string) func(*Node) error {
		return func(n *Node) error { return n.RotateKeys(t.Context(), rest.RotateKeys{KeyID: id}) }
	}
	toLocal := func(n *Node) error { return n.SetKeyStore(t.Context(), rest.SetKeyStore{Type: rest.TypeLocal}) }
	for _, c := range []struct {
		name   string
		every  int               // 1: cut before every write; n: before every n-th, from a random one on
		before func(*Node) error // brings the node where the rotation starts
		rotate func(*Node) error
	}{
		{"local to local", 1, nil, rotate("")},
		{"local to KMS", 4, nil, toKMS("key-1")},
		{"KMS to KMS", 4, toKMS("key-1"), rotate("key-2")},
		{"KMS to local", 4, toKMS("key-1"), toLocal},
	} {
		if os.Getenv(thoroughEnv) != "" {
			c.every = 1
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cutEverywhere(t, c.every, c.before, c.rotate)
		})
	}
}

func cutEverywhere(t *testing.T, every int, before, rotate func(*Node) error) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	start := newWorld(t)
	if before != nil {
		n := start.node(t)
		if err := errors.Join(start.bringUp(t, n), before(n)); err != nil {
			t.Fatal(err)
		}
	}
	start = start.crash(rng) // takes over what is durable, and nothing else
	total := 0
	for cut := 0; cut <= total || total == 0; cut += every {
		w := start.crash(rng)
		n := w.node(t)
		if err := w.bringUp(t, n); err != nil {
			t.Fatal(err)
		}
		old, err := clone(n.keys.key)
		if err != nil {
			t.Fatal(err)
		}
		limit := cut
		if total == 0 { // the first time it runs through, to be counted
			limit = 1 << 30
		}
		count := w.cutAfter(limit)
		err = rotate(n)
		if total == 0 {
			if err != nil {
				t.Fatal(err)
			}
			w.check(t, n)
			w.refuses(t, n, old)
			total, cut = count(), rng.IntN(every)-every
			t.Logf("%d writes", total)
			continue
		}
		after := w.crash(rng)
		again := after.node(t)
		if err := after.bringUp(t, again); err != nil {
			t.Fatalf("cut after %d of %d writes: %v", cut, total, err)
		}
		after.check(t, again)
		if again.keys.key.ID() != old.ID() {
			after.refuses(t, again, old)
		}
		if t.Failed() {
			t.Fatalf("cut after %d of %d writes; the rotation said: %v", cut, total, err)
		}
	}
}

// kmsRequest is what qq sends to use a key of the server.
func kmsRequest(t *testing.T, s *keyringtest.Server, keyID string) rest.SetKeyStore {
	t.Helper()
	host, portText, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	c := clientCerts(t, s)
	return rest.SetKeyStore{Type: rest.TypeKMS, KMS: &rest.KMSConfig{
		Hostname: host, Port: &port, KeyID: keyID,
		ServerCACert: c.ServerCACert, ClientCert: c.ClientCert, ClientPrivateKey: c.ClientPrivateKey,
	}}
}

var certsOnce sync.Map // by server: making certificates takes its time

func clientCerts(t *testing.T, s *keyringtest.Server) rest.KMSCerts {
	t.Helper()
	if c, ok := certsOnce.Load(s); ok {
		return c.(rest.KMSCerts)
	}
	pem := s.CA.Certs(t, keyringtest.Cert{})
	c := rest.KMSCerts{ServerCACert: string(pem.ServerCA.Data), ClientCert: string(pem.ClientCert.Data), ClientPrivateKey: string(pem.ClientKey.Data)}
	certsOnce.Store(s, c)
	return c
}
