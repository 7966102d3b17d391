//go:build vm

package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blockdev/uring"
	"sealbay/blockcrypt/blocktest"
)

// The device-mapper's own judges (Documentation/admin-guide/device-mapper),
// over a drive with a real driver. A build machine may have none of them.
const (
	vmDrive   = "/dev/nvme0n1"
	vmLog     = "/dev/vda"
	vmSectors = 4 << 20 / 512
)

func eachEngine(t *testing.T, run func(t *testing.T, engine string, depth int)) {
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
	for _, engine := range []string{direct.Engine, uring.Engine} {
		for _, depth := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s/depth %d", engine, depth), func(t *testing.T) { run(t, engine, depth) })
		}
	}
}

// mapped makes a device of table until the end of the test.
func mapped(t *testing.T, name, table string) string {
	t.Helper()
	dmsetup(t, "create", name, "--noudevsync", "--table", table)
	t.Cleanup(func() {
		if strings.Contains(dmsetup(t, "ls"), name) {
			dmsetup(t, "remove", "--noudevsync", "--retry", name)
		}
	})
	return "/dev/" + strings.TrimSpace(dmsetup(t, "info", "--columns", "--noheadings", "-o", "blkdevname", name))
}

func dmsetup(t *testing.T, args ...string) string {
	t.Helper()
	return blocktest.Command(t, "dmsetup", "dmsetup", args...)
}

func openDevice(t *testing.T, path, engine string) blockdev.Device {
	t.Helper()
	d, err := Open(path, engine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestVMPowerCut lets dm-log-writes keep what reached the drive's stable
// storage, in order, and looks at the drive as it was at each of its entries.
func TestVMPowerCut(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string, depth int) {
		const name = "logged"
		path := mapped(t, name, fmt.Sprintf("0 %d log-writes %s %s", vmSectors, vmDrive, vmLog))
		promised := blocktest.Promises(t, openDevice(t, path, engine), depth, func(batch int) {
			dmsetup(t, "message", name, "0", "mark", fmt.Sprintf("batch%d", batch))
		})
		dmsetup(t, "remove", "--noudevsync", "--retry", name)
		replay(t, promised)
	})
}

// replay reads the log: a block of 512 bytes that says how many entries there
// are, then each as a block and its data (drivers/md/dm-log-writes.c).
func replay(t *testing.T, promised []map[int64]byte) {
	t.Helper()
	const block, magic, discard, mark = 512, 0x6a736677736872, 4, 8
	log, err := os.Open(vmLog)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	word := func(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	next := func(n uint64) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(log, b); err != nil {
			t.Fatalf("reading the log: %v", err)
		}
		return b
	}
	super := next(block)
	if word(super, 0) != magic || word(super, 1) != 1 {
		t.Fatalf("no log of dm-log-writes: % x", super[:32])
	}
	image, batch, entries := make([]byte, vmSectors*512), 0, word(super, 2)
	for range entries {
		e := next(block)
		sector, sectors, flags := word(e, 0), word(e, 1), word(e, 2)
		switch {
		case flags&mark != 0 && strings.HasPrefix(string(e[32:]), "batch"): // it adds one of its own at the end
			batch++
			holds(t, image, promised[batch-1])
		case flags&mark != 0:
		case flags&discard != 0:
			clear(image[sector*512:][:sectors*512])
		default:
			copy(image[sector*512:], next(sectors*512))
			if batch > 0 && batch < len(promised) {
				holds(t, image, blocktest.Between(promised[batch-1], promised[batch]))
			}
		}
	}
	t.Logf("%d entries, %d batches", entries, batch)
	if batch != len(promised) || entries < uint64(2*batch) {
		t.Errorf("the log has %d entries and %d marks of %d batches", entries, batch, len(promised))
	}
}

func holds(t *testing.T, image []byte, promised map[int64]byte) {
	t.Helper()
	for off, want := range promised {
		for i, b := range image[off:][:4096] {
			if b != want {
				t.Fatalf("acknowledged as stable at %d, and lost: byte %d is %#x, want %#x", off, i, b, want)
			}
		}
	}
}

// TestVMErrors puts a bad spot on the drive (dm-error), and lets it fail all
// writes (dm-flakey): exactly what touches the spot, or writes, fails, with
// EIO and named.
func TestVMErrors(t *testing.T) {
	const spot, length = 1 << 20, 8192
	linear := func(from, to int) string {
		return fmt.Sprintf("%d %d linear %s %d\n", from/512, (to-from)/512, vmDrive, from/512)
	}
	bad := linear(0, spot) + fmt.Sprintf("%d %d error\n", spot/512, length/512) + linear(spot+length, 4<<20)
	flaky := fmt.Sprintf("0 %d flakey %s 0 0 60 1 error_writes", vmSectors, vmDrive)
	eachEngine(t, func(t *testing.T, engine string, depth int) {
		for name, c := range map[string]struct {
			table string
			fails func(r *blockdev.Request) bool
		}{
			"spot": {bad, func(r *blockdev.Request) bool {
				return r.Op != blockdev.Flush && r.Offset < spot+length && r.Offset+r.Span() > spot
			}},
			"writes": {flaky, func(r *blockdev.Request) bool { return r.Op != blockdev.Read }},
		} {
			t.Run(name, func(t *testing.T) { exactly(t, openDevice(t, mapped(t, "bad", c.table), engine), depth, c.fails) })
		}
	})
}

// exactly sends requests around a spot at 1 MiB and asks those to fail of
// which fails says so.
func exactly(t *testing.T, d blockdev.Device, depth int, fails func(r *blockdev.Request) bool) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	arena, err := blockdev.NewArena(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: arena})
	if err != nil {
		t.Fatal(err)
	}
	var reqs []*blockdev.Request
	for _, op := range []blockdev.Op{blockdev.Read, blockdev.Write, blockdev.WriteZeroes, blockdev.Flush} {
		for _, off := range []int64{0, 1<<20 - 4096, 1<<20 - 512, 1 << 20, 1<<20 + 8192 - 512, 1<<20 + 8192, 2 << 20} {
			reqs = append(reqs, &blockdev.Request{Op: op, Flags: blockdev.FUA, Offset: off, Length: 4096, Buf: arena.Cut(4096)})
		}
	}
	failed := 0
	for at := 0; at < len(reqs); at += depth {
		some := reqs[at:min(at+depth, len(reqs))]
		if n, err := q.Submit(some); n != len(some) || err != nil {
			t.Fatal(n, err)
		}
		if n, err := q.Reap(make([]*blockdev.Request, depth), len(some)); n != len(some) || err != nil {
			t.Fatal(n, err)
		}
		for _, r := range some {
			op := new(blockdev.OpError)
			switch {
			case !fails(r) && r.Err != nil:
				t.Errorf("unexpected: %v", r.Err)
			case fails(r) && (!errors.Is(r.Err, unix.EIO) || !errors.As(r.Err, &op) || op.Offset != r.Offset || op.Op != r.Op):
				t.Errorf("%v at %d says %v, want EIO", r.Op, r.Offset, r.Err)
			case fails(r):
				failed++
			}
		}
	}
	if failed == 0 || failed == len(reqs) {
		t.Errorf("%d of %d requests failed", failed, len(reqs))
	}
	if err := errors.Join(q.Close(), d.Close(), arena.Close()); err != nil {
		t.Error(err)
	}
}
