package blockdev

import "fmt"

// MaxDepth is the deepest queue that an engine opens.
const MaxDepth = 4096

// Defaults returns o with what was left 0 filled in, or the error of options
// that no engine can serve.
func (o QueueOptions) Defaults() (QueueOptions, error) {
	if o.Depth == 0 {
		o.Depth = 1
	}
	if o.MaxTransfer == 0 {
		o.MaxTransfer = DefaultMaxTransfer
	}
	if o.Depth < 0 || o.Depth > MaxDepth {
		return o, fmt.Errorf("queue depth %d: want 1 to %d", o.Depth, MaxDepth)
	}
	if o.MaxTransfer < 0 {
		return o, fmt.Errorf("transfer size %d: must be positive", o.MaxTransfer)
	}
	if int(o.SlotBase)+o.Depth > 1<<16 {
		return o, fmt.Errorf("slots %d to %d: past 65535", o.SlotBase, int(o.SlotBase)+o.Depth-1)
	}
	return o, nil
}

// Check is the Check of a request to a queue of these options: ErrTooLarge is
// among its answers.
func (o *QueueOptions) Check(r *Request, info *Info) error {
	if err := Check(r, info); err != nil {
		return err
	}
	if (r.Op == Read || r.Op == Write) && len(r.Buf) > o.MaxTransfer {
		return NewOpError(r, info.Path, ErrTooLarge)
	}
	return nil
}
