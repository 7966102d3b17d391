//go:build vm

package probe_test

import (
	"os"
	"testing"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blockdev"
)

// TestVMStages holds the probes against the appliance's kernel and its real
// drivers; its NVMe drive is the head of a multipath.
func TestVMStages(t *testing.T) {
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
	for _, c := range []struct{ path, engine string }{
		{"/dev/vda", "direct"}, {"/dev/nvme0n1", "io_uring"}, {"/dev/sda", "io_uring"},
	} {
		t.Run(c.path+" "+c.engine, func(t *testing.T) {
			p := open(t, c.path)
			for _, f := range p.Features() {
				t.Logf("%s: %s", f.Name, f.Result)
			}
			dev := openEngine(t, c.engine, c.path)
			checkStages(t, p, dev, blockdev.Write, 1, 4096, 300)
			checkStages(t, p, dev, blockdev.Read, 8, 4096, 300)
			checkStages(t, p, dev, blockdev.Read, 1, 1<<20, 50)
		})
	}
	settles(t, objects(t))
}

func TestVMLive(t *testing.T) {
	l, err := probe.OpenLive("/dev/nvme0n1")
	must(t, err)
	defer l.Close()
	readBlocks(t, "/dev/nvme0n1", 500)
	s, err := l.Read()
	must(t, err)
	for stage := range probe.LiveStages {
		if h := s.Histograms[stage][probe.LiveRead]; h.Count < 490 {
			t.Errorf("%v: %d of 500 reads", stage, h.Count)
		}
	}
}
