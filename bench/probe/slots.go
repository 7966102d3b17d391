package probe

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// slotTable is the array of slots, mapped into our memory
// (BPF_F_MMAPABLE). The kernel's programs write it, Take reads it.
type slotTable struct {
	mem   []byte
	slots []stagesSlot
}

func mapSlots(m *ebpf.Map) (*slotTable, error) {
	n := int(m.MaxEntries())
	size := n * int(unsafe.Sizeof(stagesSlot{}))
	mem, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the %d slots of the kernel probes: %w", n, err)
	}
	return &slotTable{mem, unsafe.Slice((*stagesSlot)(unsafe.Pointer(unsafe.SliceData(mem))), n)}, nil
}

func (t *slotTable) close() error {
	mem := t.mem
	t.mem, t.slots = nil, nil
	return unix.Munmap(mem)
}

// Take returns what the kernel stamped in a slot and clears it for the next
// I/O. Call it when the request was reaped and before the next Submit on its
// queue, which may use the slot again. It costs no system call and allocates
// nothing.
func (p *Probe) Take(slot uint16) KernelStamps {
	if int(slot) >= len(p.slots.slots) {
		return KernelStamps{}
	}
	s := &p.slots.slots[slot]
	// A blocking thread's slot has no submission that clears it.
	parts := atomic.SwapUint32(&s.Parts, 0)
	return KernelStamps{
		Submitted: int64(atomic.LoadUint64(&s.Submitted)),
		Started:   int64(atomic.LoadUint64(&s.Started)),
		Issued:    int64(atomic.LoadUint64(&s.Issued)),
		Completed: int64(atomic.LoadUint64(&s.Completed)),
		Posted:    int64(atomic.LoadUint64(&s.Posted)),
		Parts:     int(parts),
		PartsDone: int(atomic.LoadUint32(&s.PartsDone)),
		Bio:       !p.target.hasQueue(),
	}
}
