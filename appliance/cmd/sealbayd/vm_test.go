//go:build vm

package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt/blocktest"
)

const vmDrive = "/dev/nvme0n1"

// TestVMProbe watches a drive as an operator of the box does, with the box's
// own kernel and programs; then again after the kernel was locked down, which
// must not take more than the bench's own probes away.
func TestVMProbe(t *testing.T) {
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
	_, qq := daemon(t, "/bin", t.TempDir())
	watched(t, qq)
	const lockdown = "/sys/kernel/security/lockdown"
	if err := os.WriteFile(lockdown, []byte("confidentiality"), 0); err != nil {
		t.Fatal(err)
	}
	watched(t, qq)
	runsWithoutProbes(t)
}

// watched goes through probe_start, probe_status and probe_stop while 200
// blocks are read and 50 written.
func watched(t *testing.T, qq func(...string) string) {
	t.Helper()
	qq("probe_start", "--device", vmDrive)
	blocks(t, os.O_RDONLY, syscall.Pread, 200)
	blocks(t, os.O_WRONLY, syscall.Pwrite, 50)
	for end := time.Now().Add(30 * time.Second); !strings.Contains(qq("probe_status"), `"count": 50,`); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("probe_status never shows the 50 writes: %s", qq("probe_status"))
		}
	}
	said := qq("probe_stop", "--device", vmDrive)
	var l rest.ProbeList
	if err := json.Unmarshal([]byte(said), &l); err != nil || len(l.Probes) != 1 || l.Probes[0].Device != vmDrive {
		t.Fatalf("probe_stop: %v: %s", err, said)
	}
	for op, n := range map[string]uint64{"read": 200, "write": 50} {
		for _, stage := range []string{"queue", "device"} {
			s := l.Probes[0].Operations[op][stage]
			t.Logf("%s, %s: %d, mean %.2f us, most %.2f us", op, stage, s.Count, s.MeanUS, s.MaxUS)
			if s.Count != n || s.MeanUS <= 0 || s.MaxUS < s.MeanUS {
				t.Errorf("%s, %s: %+v, want a count of %d and times", op, stage, s, n)
			}
		}
	}
	if left := qq("probe_status"); strings.Contains(left, vmDrive) {
		t.Errorf("after probe_stop there is %s", left)
	}
}

// blocks transfers n blocks of 4 KiB past the page cache, one after the other.
func blocks(t *testing.T, flags int, transfer func(int, []byte, int64) (int, error), n int) {
	t.Helper()
	f, err := os.OpenFile(vmDrive, flags|syscall.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(page)
	for i := range n {
		if got, err := transfer(int(f.Fd()), page, int64(i)*4096); got != 4096 || err != nil {
			t.Fatalf("block %d: %d bytes, %v", i, got, err)
		}
	}
}

// runsWithoutProbes: the bench says what keeps it from its probes, and goes on.
func runsWithoutProbes(t *testing.T) {
	t.Helper()
	out := blocktest.Command(t, "none: it is ours", "/bin/sealbench", "run", "--target", vmDrive, "--i-know-this-erases", vmDrive,
		"--size", "64MiB", "--rounds", "1", "--round-time", "100ms", "--workloads", "W1", "--probes")
	const want = "kernel probes are not available: missing a kernel that lets BPF programs read its memory: lockdown is in mode " +
		"confidentiality (boot with lockdown=integrity or without): the kernel's part of the stages is in one piece."
	flat := strings.Join(strings.Fields(out), " ")
	if !strings.Contains(flat, want) || !strings.Contains(flat, "stages explain") || strings.Contains(flat, "queue 0") {
		t.Errorf("want %q and the engine's own stages:\n%s", want, out)
	}
}
