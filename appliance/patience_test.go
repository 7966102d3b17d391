package appliance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

// TestHungDriveKeepsNobody: one drive of three never answers. The others open,
// rotate and rehearse; the one is named.
func TestHungDriveKeepsNobody(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	n := w.node(t)
	n.drives.patience = 500 * time.Millisecond
	records, err := n.state.loadDrives()
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range w.drives {
		n.drives.drives = append(n.drives.drives, &drive{found: found(m), dev: m, rec: records[i], known: true, state: rest.DriveLocked})
	}
	w.drives[1].Fail(func(int, *blockdev.Request) blocktest.Fault {
		<-release
		return blocktest.Fault{Err: errors.New("reset")}
	})
	start := time.Now()
	if err := n.openDrives(t.Context(), false); err != nil {
		t.Error(err)
	}
	n.drives.publish()
	states := []string{}
	for _, d := range n.drives.drives {
		states = append(states, d.state)
	}
	if got := strings.Join(states, " "); got != "open failed open" {
		t.Errorf("drives are %q", got)
	}
	if d := n.drives.drives[1]; !strings.Contains(d.detail, "did not answer in time") {
		t.Errorf("the hung drive says %q", d.detail)
	}
	if err := n.RotateKeys(t.Context(), rest.RotateKeys{}); err != nil {
		t.Errorf("rotation beside a hung drive: %v", err)
	}
	if len(n.keys.retained()) != 1 {
		t.Errorf("no key is kept for the hung drive: %v", n.keys.retained())
	}
	r, err := n.Rehearse(t.Context())
	if err != nil || r.Passed || len(r.Drives) != 3 || !r.Drives[0].Opens || r.Drives[1].Opens || !r.Drives[2].Opens {
		t.Errorf("rehearsal: %+v, %v", r, err)
	}
	n.Status()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	close(release)
	w.drives[1].Fail(nil)

	// Pulled and put back, it is brought to the new key.
	again := w.node(t)
	if err := w.bringUp(t, again); err != nil {
		t.Fatal(err)
	}
	w.check(t, again)
}
