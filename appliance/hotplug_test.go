package appliance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealbay/appliance/rest"
)

// slots is a folder of links to loop devices: a shelf into which drives are
// plugged. The daemon of the test looks only there.
type slots struct {
	t   *testing.T
	dir string
}

// plug attaches the image to a loop device whose link stands already, as a
// slot does: only the kernel's event can tell of it in time.
func (s slots) plug(slot, image string) (loop string) {
	s.t.Helper()
	for range 5 { // others may take the free device first
		out, err := exec.Command("losetup", "-f").Output()
		if err != nil {
			s.t.Fatalf("losetup (Debian package mount): %v", err)
		}
		loop = strings.TrimSpace(string(out))
		link := filepath.Join(s.dir, slot)
		if err := os.Symlink(loop, link); err != nil {
			s.t.Fatal(err)
		}
		if exec.Command("losetup", loop, image).Run() == nil {
			s.t.Cleanup(func() { _ = exec.Command("losetup", "-d", loop).Run() }) // gone already, if all went well
			return loop
		}
		if err := os.Remove(link); err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("no loop device to be had")
	return ""
}

func (s slots) pull(slot string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, slot)); err != nil {
		s.t.Fatal(err)
	}
}

// TestHotPlug: a drive that is plugged in is recognised at once by the
// kernel's event, in whichever slot, and opened.
func TestHotPlug(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 20)
	images := r.images
	s := slots{t, filepath.Join(filepath.Dir(r.state), "slots")}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.drives = filepath.Join(s.dir, "*")
	loops := []string{s.plug("a", images[0]), s.plug("b", images[1])}
	n := r.serving(t, true)
	r.await(t, "open", func(st rest.NodeState) bool { return st.DrivesOpen == 2 })
	uuids := map[string]string{}
	for _, v := range n.Volumes().Volumes {
		uuids[v.Serial] = v.UUID
	}
	for round := range 3 { // the rescan every 5 s alone could not win three times
		slot := []string{"c", "d", "e"}[round]
		s.pull([]string{"b", "c", "d"}[round])
		r.await(t, "degraded", func(st rest.NodeState) bool { return st.State == rest.StateDegraded && st.DrivesOpen == 1 })
		if out, err := exec.Command("losetup", "-d", loops[1]).CombinedOutput(); err != nil {
			t.Fatalf("losetup -d: %v: %s", err, out)
		}
		loops[1] = s.plug(slot, images[1])
		start := time.Now()
		r.await(t, "open again", func(st rest.NodeState) bool { return st.State == rest.StateOpen && st.DrivesOpen == 2 })
		t.Logf("plugged into slot %s: open after %v", slot, time.Since(start))
		if took := time.Since(start); took > rescan/2 {
			t.Errorf("it took %v to notice a drive", took)
		}
		for _, v := range n.Volumes().Volumes {
			if uuids[v.Serial] != v.UUID {
				t.Errorf("%s is volume %s, was %s", v.Serial, v.UUID, uuids[v.Serial])
			}
			if v.Serial == filepath.Base(images[1]) && filepath.Base(v.Path) != slot {
				t.Errorf("%s is at %s, want slot %s", v.Serial, v.Path, slot)
			}
		}
	}
}
