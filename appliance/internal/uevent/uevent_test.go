package uevent

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const add = "add@/devices/pci0000:00/block/vdb\x00ACTION=add\x00DEVPATH=/devices/pci0000:00/block/vdb\x00SUBSYSTEM=block\x00MAJOR=254\x00DEVNAME=vdb\x00DEVTYPE=disk\x00"
	for _, c := range []struct {
		msg  string
		want Event
		ok   bool
	}{
		{add, Event{"add", "block", "vdb", ""}, true},
		{strings.Replace(add, "DEVNAME=vdb", "MODALIAS=pci:v1", 1), Event{"add", "block", "", "pci:v1"}, true},
		{"libudev\x00\xfe\xed\xca\xfe", Event{}, false},
		{"", Event{}, false},
		{"remove@/x\x00SUBSYSTEM=block\x00", Event{Subsystem: "block"}, false},
	} {
		if got, ok := Parse([]byte(c.msg)); got != c.want || ok != c.ok {
			t.Errorf("Parse(%q) = %v, %v", c.msg, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("add@/x\x00ACTION=add\x00SUBSYSTEM=block\x00DEVNAME=vdb\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if e, ok := Parse(msg); ok && (e.Action == "" || e.Subsystem == "") {
			t.Errorf("accepted without action or subsystem: %+v", e)
		}
	})
}

// TestHearsALoopDevice attaches a loop device and waits for the kernel to say so.
func TestHearsALoopDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, for loop devices: run the tests as root")
	}
	s, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan Event, 100)
	done := make(chan error, 1)
	go func() { done <- s.Receive(ctx, func(e Event) { heard <- e }) }()

	img := filepath.Join(t.TempDir(), "d.img")
	if err := os.WriteFile(img, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", img).Output()
	if err != nil {
		t.Fatalf("losetup (package util-linux): %v", err)
	}
	loop := strings.TrimSpace(string(out))
	defer func() {
		if err := exec.Command("losetup", "-d", loop).Run(); err != nil {
			t.Errorf("losetup -d %s: %v", loop, err)
		}
	}()
	for deadline := time.After(5 * time.Second); ; {
		select {
		case e := <-heard:
			if "/dev/"+e.Name != loop {
				continue
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Receive: %v", err)
			}
			return
		case <-deadline:
			t.Fatalf("nothing heard of %s", loop)
		}
	}
}
