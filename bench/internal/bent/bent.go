// Package bent is a block device that goes wrong on purpose, for tests that
// prove that the bench notices.
package bent

import "sealbay/blockcrypt/blockdev"

// Device is a device whose requests are changed on the way. Before sees a
// request on its way to the drive, After on its way back; n counts the
// requests submitted to all queues so far. Either may be nil.
type Device struct {
	blockdev.Device
	Before, After func(n int, r *blockdev.Request)
	n             int
}

type queue struct {
	blockdev.Queue
	d *Device
}

// OpenQueue opens a queue; the device is for one queue at a time.
func (d *Device) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	q, err := d.Device.OpenQueue(o)
	return &queue{q, d}, err
}

func (q *queue) Submit(reqs []*blockdev.Request) (int, error) {
	for _, r := range reqs {
		if q.d.Before != nil {
			q.d.Before(q.d.n, r)
		}
		q.d.n++
	}
	return q.Queue.Submit(reqs)
}

func (q *queue) Reap(done []*blockdev.Request, least int) (int, error) {
	n, err := q.Queue.Reap(done, least)
	for _, r := range done[:n] {
		if q.d.After != nil {
			q.d.After(q.d.n, r)
		}
	}
	return n, err
}

// DropWrites returns a Before that turns the writes which pick chooses into
// flushes: they succeed and store nothing.
func DropWrites(pick func(n int) bool) func(int, *blockdev.Request) {
	return func(n int, r *blockdev.Request) {
		if r.Op == blockdev.Write && pick(n) {
			r.Op = blockdev.Flush
		}
	}
}

// SwapWrites returns a Before that exchanges neighbouring blocks of 4096
// bytes as they are written.
func SwapWrites() func(int, *blockdev.Request) {
	return func(_ int, r *blockdev.Request) {
		if r.Op == blockdev.Write && len(r.Buf) == 4096 {
			r.Offset ^= 4096
		}
	}
}
