package appliance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/local"
)

// The daemon as a child process that a test kills: this program again, with
// the environment variable set to the file of acknowledged writes.
const (
	hammerEnv = "SEALBAY_TEST_HAMMER"
	noHammer  = "none" // the daemon alone
)

func TestMain(m *testing.M) {
	if acked := os.Getenv(hammerEnv); acked != "" {
		os.Exit(hammeredDaemon(acked))
	}
	os.Exit(m.Run())
}

// hammeredDaemon is sealbayd with somebody writing to its volumes all the time.
func hammeredDaemon(acked string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, _, err := ParseFlags(os.Args[1:], os.Stderr)
	if err != nil {
		return 2
	}
	n, err := New(cfg)
	if err == nil {
		if acked != noHammer {
			go n.hammer(ctx, acked)
		}
		err = errors.Join(n.Run(ctx), n.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const (
	hammerBlock  = 4096 // bytes
	hammerBlocks = 64   // of each volume
)

// pattern fills b with what write number seq puts into block i of a volume.
func pattern(b []byte, uuid string, i int, seq uint64) {
	r := rand.NewChaCha8([32]byte{byte(i), byte(seq), byte(seq >> 8), byte(seq >> 16)})
	r.Read(b)
	copy(b, uuid)
	binary.LittleEndian.PutUint64(b[40:], uint64(i))
	binary.LittleEndian.PutUint64(b[48:], seq)
	binary.LittleEndian.PutUint32(b[56:], 0)
	binary.LittleEndian.PutUint32(b[56:], crc32.ChecksumIEEE(b))
}

// hammer writes, flushes, and only then says so in the file: what stands there
// was acknowledged.
func (n *Node) hammer(ctx context.Context, acked string) {
	f, err := os.OpenFile(acked, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	b := make([]byte, hammerBlock)
	for seq := uint64(time.Now().UnixNano()) / 1000; ctx.Err() == nil; seq++ {
		n.drives.hands.Lock()
		var vols []*blockcrypt.Volume
		for _, d := range n.drives.drives {
			if d.vol != nil {
				vols = append(vols, d.vol)
			}
		}
		n.drives.hands.Unlock()
		if len(vols) == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		v, i := vols[rand.IntN(len(vols))], rand.IntN(hammerBlocks)
		uuid := v.Summary().UUID
		pattern(b, uuid, i, seq)
		if _, err := v.WriteAt(b, int64(i)*hammerBlock); err != nil {
			continue // the node is going down
		}
		if err := v.Flush(); err != nil {
			continue
		}
		if _, err := fmt.Fprintf(f, "%s %d %d\n", uuid, i, seq); err != nil {
			panic(err)
		}
	}
}

// ackedWrites reads the file: the newest acknowledged write of each block.
func ackedWrites(t *testing.T, path string) map[string]uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	acked := map[string]uint64{}
	for {
		var uuid string
		var i int
		var seq uint64
		if _, err := fmt.Fscanln(f, &uuid, &i, &seq); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return acked
		} else if err != nil {
			t.Fatal(err)
		}
		acked[uuid+" "+strconv.Itoa(i)] = seq
	}
}

// checkBlocks proves that every acknowledged write is there, or a later one of
// the same block, whole.
func checkBlocks(t *testing.T, n *Node, acked map[string]uint64) {
	t.Helper()
	checked := 0
	for _, d := range n.drives.drives {
		if d.vol == nil {
			t.Errorf("%s is not open but %s: %s", d.name(), d.state, d.detail)
			continue
		}
		b, want := make([]byte, hammerBlock), make([]byte, hammerBlock)
		for i := range hammerBlocks {
			seq, ok := acked[d.rec.UUID+" "+strconv.Itoa(i)]
			if !ok {
				continue
			}
			if _, err := d.vol.ReadAt(b, int64(i)*hammerBlock); err != nil {
				t.Fatal(err)
			}
			got := binary.LittleEndian.Uint64(b[48:])
			pattern(want, d.rec.UUID, i, got)
			if got < seq || string(b) != string(want) {
				t.Errorf("%s block %d: acknowledged write %d is lost, there is %d", d.name(), i, seq, got)
			}
			checked++
		}
	}
	if checked == 0 {
		t.Error("no block was checked")
	}
}

// rig is a node's world on disk.
type rig struct {
	state, drives, socket, acked string
	images                       []string
}

func newRig(t *testing.T, drives int, mib int64) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: the state folder's files must be root's; run the tests as root")
	}
	dir := t.TempDir()
	for p := dir; p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{state: filepath.Join(dir, "state"), drives: filepath.Join(dir, "d*.img"), socket: filepath.Join(dir, "s"), acked: filepath.Join(dir, "acked")}
	for i := range drives {
		path := filepath.Join(dir, fmt.Sprintf("d%d.img", i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(mib<<20), f.Close()); err != nil {
			t.Fatal(err)
		}
		r.images = append(r.images, path)
	}
	return r
}

func (r *rig) args() []string {
	return []string{"-state", r.state, "-drives", r.drives, "-socket", r.socket}
}

// node opens the rig's node in this process and brings it up.
func (r *rig) node(t *testing.T, formatBlank bool) *Node {
	t.Helper()
	cfg, _, err := ParseFlags(r.args(), testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.bringUp(t.Context(), formatBlank); err != nil {
		t.Fatal(errors.Join(err, n.Close()))
	}
	return n
}

// child starts the daemon under hammer and waits until it is open.
func (r *rig) child(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe", r.args()...)
	c.Env = append(os.Environ(), hammerEnv+"="+r.acked)
	log := &tail{}
	c.Stderr = log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		var s rest.NodeState
		if r.client().Call(t.Context(), "GET", "/v1/node/state", nil, &s) == nil && s.State == rest.StateOpen && s.DrivesOpen == len(r.images) {
			return c
		}
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	t.Fatalf("the daemon did not come up:\n%s", log.String())
	return nil
}

func (r *rig) client() *rest.Client { return rest.NewUnixClient(r.socket) }

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

// currentKey fetches the key that the rig's local store holds.
func currentKey(t *testing.T, n *Node) *keyring.MasterKey {
	t.Helper()
	key, _, err := local.New(n.state.folder).Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}
