package direct

import (
	"runtime"
	"strconv"
	"testing"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// loop returns a function that keeps depth requests of n bytes in flight and
// completes one more batch at each call.
func loop(t testing.TB, depth, n int, op blockdev.Op, flags blockdev.Flags) func() {
	d := mustOpen(t, blocktest.File(t, blocktest.Tmpfs(t), size), Options{})
	arena, err := blockdev.NewArena(depth * n)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: arena})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if q.Close() != nil || d.Close() != nil || arena.Close() != nil {
			t.Error("closing failed")
		}
	})
	reqs, done := make([]*blockdev.Request, depth), make([]*blockdev.Request, depth)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: op, Flags: flags, Offset: int64(i * n), Length: int64(n), Buf: arena.Cut(n)}
	}
	return func() {
		if k, err := q.Submit(reqs); k != depth || err != nil {
			t.Fatal(k, err)
		}
		if k, err := q.Reap(done, depth); k != depth || err != nil {
			t.Fatal(k, err)
		}
		for _, r := range done {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, depth := range []int{1, 8} {
		for op := blockdev.Read; op <= blockdev.WriteZeroes; op++ {
			for flags := blockdev.Flags(0); flags <= blockdev.FUA; flags++ {
				if n := testing.AllocsPerRun(50, loop(t, depth, 4096, op, flags)); n != 0 {
					t.Errorf("depth %d, %v, flags %d: %v allocations per batch", depth, op, flags, n)
				}
			}
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, depth := range []int{1, 8} {
		for _, n := range []int{4 << 10, 128 << 10} {
			b.Run("read/"+itoa(int64(n))+"/depth"+itoa(int64(depth)), func(b *testing.B) {
				run := loop(b, depth, n, blockdev.Read, 0)
				b.ReportAllocs()
				b.SetBytes(int64(depth * n))
				for b.Loop() {
					run()
				}
			})
		}
	}
}
