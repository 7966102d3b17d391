package appliance

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
)

// TestKillDuringRotations kills the daemon with SIGKILL at random moments of
// rotations, with writes to its volumes going on: no acknowledged write is
// lost, every drive opens at the next start, with one key only.
func TestKillDuringRotations(t *testing.T) {
	t.Parallel()
	const kills = 30
	r := newRig(t, 3, 20)
	if err := r.node(t, true).Close(); err != nil {
		t.Fatal(err)
	}
	rotations, longest := 0, r.timeRotation(t)
	for i := range kills {
		c := r.child(t)
		done := make(chan bool, 1)
		go func() {
			ok := true
			for ok { // until the daemon is gone
				ok = r.client().Call(t.Context(), "POST", "/v1/encryption/rotate-keys", nil, nil) == nil
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
		if i%10 == 9 {
			r.check(t)
		}
	}
	if rotations < kills/5 {
		t.Errorf("only %d rotations were complete before %d kills: the test tests little", rotations, kills)
	}
	t.Logf("%d kills, %d rotations were complete before theirs", kills, rotations)
}

// timeRotation returns about twice the time that a rotation takes here and now.
func (r *rig) timeRotation(t *testing.T) time.Duration {
	t.Helper()
	n := r.node(t, false)
	start := time.Now()
	if err := n.RotateKeys(t.Context(), rest.RotateKeys{}); err != nil {
		t.Error(err)
	}
	took := time.Since(start)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	return min(2*took, 2*time.Second)
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
