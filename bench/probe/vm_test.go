//go:build vm

package probe_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blockdev"
)

// TestVMStages holds the probes against the appliance's kernel and its real
// drivers; its NVMe drive is the head of a multipath.
func TestVMStages(t *testing.T) {
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
	for _, c := range []struct {
		path, engine string
		splits       bool
	}{
		{"/dev/vda", "direct", false}, {"/dev/nvme0n1", "io_uring", true}, {"/dev/sda", "io_uring", false},
	} {
		t.Run(c.path+" "+c.engine, func(t *testing.T) {
			p := open(t, c.path)
			checkFeatures(t, p.Features())
			dev := openEngine(t, c.engine, c.path)
			checkStages(t, p, dev, blockdev.Write, 1, 4096, 300)
			checkStages(t, p, dev, blockdev.Read, 8, 4096, 300)
			// QEMU's NVMe drive takes 512 KiB, so the kernel splits this; what the
			// others take depends on how scattered the memory is.
			if parts := checkStages(t, p, dev, blockdev.Read, 1, 1<<20, 50); c.splits && parts < 2 {
				t.Errorf("1 MiB in at most %d parts", parts)
			}
		})
	}
	settles(t, objects(t))
}

// checkFeatures holds what the kernel answered against its version, and looks
// for what stands in where something is missing.
func checkFeatures(t *testing.T, features []probe.Feature) {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	release := unix.ByteSliceToString(u.Release[:])
	for i, f := range features {
		t.Logf("Linux %s: %s: %s", release, f.Name, f.Result)
		if f.Since != "" && (f.Answer == probe.Supported) != (version(t, release) >= version(t, f.Since)) {
			t.Errorf("%s: %s, yet it is said to be there since %s", f.Name, f.Result, f.Since)
		}
		stands := i+1 < len(features) && features[i+1].Name == f.Fallback && features[i+1].Answer == probe.Supported
		if f.Answer != probe.Supported && !stands {
			t.Errorf("%s: %s, and %q does not stand in", f.Name, f.Result, f.Fallback)
		}
	}
}

// version brings "6.12.117+deb12-amd64" to 6012.
func version(t *testing.T, release string) int {
	t.Helper()
	var major, minor int
	if n, err := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		t.Fatalf("kernel version %q: %v", release, err)
	}
	return 1000*major + minor
}

func TestVMLive(t *testing.T) {
	for _, path := range []string{"/dev/vda", "/dev/nvme0n1", "/dev/sda"} {
		checkLive(t, path)
	}
}

func checkLive(t *testing.T, path string) {
	t.Helper()
	l, err := probe.OpenLive(path)
	must(t, err)
	defer l.Close()
	readBlocks(t, path, 500)
	s, err := l.Read()
	must(t, err)
	for stage := range probe.LiveStages {
		if h := s.Histograms[stage][probe.LiveRead]; h.Count < 490 {
			t.Errorf("%s, %v: %d of 500 reads", path, stage, h.Count)
		}
	}
}

// TestVMLiveForeign writes to a drive in a way that merges bios, then uses
// other drives: the first one's histograms must not move.
func TestVMLiveForeign(t *testing.T) {
	l, err := probe.OpenLive("/dev/nvme0n1")
	must(t, err)
	defer l.Close()
	for range 5 {
		writeThroughCache(t, "/dev/nvme0n1")
		before, err := l.Read()
		must(t, err)
		writeThroughCache(t, "/dev/vda")
		after, err := l.Read()
		must(t, err)
		since := after.Since(before)
		for op := range probe.LiveOps {
			if n := since.Histograms[probe.LiveDevice][op].Count; n > 0 {
				t.Errorf("%d requests (%v) where the drive had none", n, op)
			}
		}
	}
}

// writeThroughCache has the kernel write 8 MiB from its page cache.
func writeThroughCache(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.Write(make([]byte, 8<<20))
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

// TestVMLockdown locks the kernel down as lockdown= on its command line does
// (kernel_lockdown(7)). It must be the last: only a restart takes that back.
func TestVMLockdown(t *testing.T) {
	const drive = "/dev/vda"
	lockDown(t, "integrity")
	p := open(t, drive)
	checkStages(t, p, openEngine(t, "io_uring", drive), blockdev.Read, 1, 4096, 100)

	lockDown(t, "confidentiality")
	const want = "kernel probes are not available: missing a kernel that lets BPF programs read its memory: " +
		"lockdown is in mode confidentiality (boot with lockdown=integrity or without)\n"
	// Also in a process that did not find the kernel open before.
	cmd := exec.Command("/proc/self/exe", drive)
	cmd.Env = append(os.Environ(), "PROBE_TEST_HELPER=open")
	if out, err := cmd.CombinedOutput(); err == nil || string(out) != want {
		t.Errorf("a new process says %q, %v; want %q", out, err, want)
	}
	_, err := probe.Open(probe.Options{Path: drive})
	if !errors.As(err, new(*probe.UnavailableError)) || err.Error()+"\n" != want {
		t.Errorf("said %q, want %q", err, want)
	}
	// The live histogram follows pointers that the verifier knows, and no others.
	checkLive(t, drive)
}

func lockDown(t *testing.T, mode string) {
	t.Helper()
	const file = "/sys/kernel/security/lockdown"
	must(t, os.WriteFile(file, []byte(mode), 0))
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "["+mode+"]") {
		t.Fatalf("%s: %q, %v", file, text, err)
	}
}
