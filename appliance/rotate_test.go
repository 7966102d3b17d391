package appliance

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	kmipgo "github.com/ovh/kmip-go"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring/keyringtest"
)

// TestKillDuringRotations kills the daemon with SIGKILL at random moments of
// rotations, with writes to its volumes going on: no acknowledged write is
// lost, every drive opens at the next start, with one key only.
func TestKillDuringRotations(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 3, 20)
		if err := r.node(t, true).Close(); err != nil {
			t.Fatal(err)
		}
		r.killDuringRotations(t, 30, func() rest.RotateKeys { return rest.RotateKeys{} })
	})
	t.Run("KMS", func(t *testing.T) {
		t.Parallel()
		server := keyringtest.NewServer(t)
		server.AddKey("key-2", nil, kmipgo.StateActive)
		r := newRig(t, 3, 20)
		n := r.node(t, true)
		if err := errors.Join(n.SetKeyStore(t.Context(), kmsRequest(t, server, "key-1")), n.Close()); err != nil {
			t.Fatal(err)
		}
		r.killDuringRotations(t, 10, func() rest.RotateKeys {
			var k rest.KeyStore
			if r.client().Call(t.Context(), "GET", "/v2/encryption/key-store", nil, &k) == nil && k.KMS.KeyID == "key-1" {
				return rest.RotateKeys{KeyID: "key-2"}
			}
			return rest.RotateKeys{KeyID: "key-1"}
		})
	})
}

// killDuringRotations is one run; next says what to rotate to. On a busy machine
// it kills more often, until rotations were complete before enough of the
// kills, and the others were cut.
func (r *rig) killDuringRotations(t *testing.T, kills int, next func() rest.RotateKeys) {
	t.Helper()
	rotations, longest := 0, r.timeRotation(t, next)
	for i := 0; i < kills || rotations < kills/5; i++ {
		if i == 4*kills {
			t.Fatalf("only %d rotations were complete before %d kills: the test tests little", rotations, i)
		}
		c := r.child(t)
		done := make(chan bool, 1)
		go func() {
			ok := true
			for ok { // until the daemon is gone
				ok = r.client().Call(t.Context(), "POST", "/v2/encryption/rotate-keys", next(), nil) == nil
				done <- ok
			}
		}()
		time.Sleep(rand.N(longest))
		if err := c.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // "signal: killed"
		for more := true; more; {
			select {
			case ok := <-done:
				if more = ok; ok {
					rotations++
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the client hangs after its daemon was killed")
			}
		}
		if i%5 == 4 {
			r.check(t)
		}
	}
	t.Logf("%d kills, %d rotations were complete before theirs", kills, rotations)
}

// timeRotation returns about twice the time that a rotation takes here and now.
func (r *rig) timeRotation(t *testing.T, next func() rest.RotateKeys) time.Duration {
	t.Helper()
	c := r.child(t)
	start := time.Now()
	if err := r.client().Call(t.Context(), "POST", "/v2/encryption/rotate-keys", next(), nil); err != nil {
		t.Error(err)
	}
	took := time.Since(start)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	return min(2*took, 5*time.Second)
}

// check brings the node up in this process and looks at everything.
func (r *rig) check(t *testing.T) {
	t.Helper()
	n := r.node(t, false)
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	if n.keys.interrupted() || len(n.keys.retained()) > 0 {
		t.Errorf("the rotation is not settled: interrupted %v, retained %v", n.keys.interrupted(), n.keys.retained())
	}
	if s := n.State(); s.DrivesOpen != len(r.images) {
		t.Errorf("%d drives open of %d: %v", s.DrivesOpen, len(r.images), n.drives.now().drives)
	}
	for _, d := range n.drives.drives {
		sum, err := blockcrypt.Inspect(d.dev)
		if err != nil || len(sum.Slots) != 1 {
			t.Errorf("%s: %d keyslots, %v; want one", d.name(), len(sum.Slots), err)
		}
	}
	checkBlocks(t, n, ackedWrites(t, r.acked))
}
