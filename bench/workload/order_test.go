package workload

import "testing"

// Random order must touch every block once a pass, or last would lie.
func TestOrderIsAPermutation(t *testing.T) {
	for _, blocks := range []int64{1, 2, 3, 5, 64, 1000, 65536, 65537} {
		for _, random := range []bool{false, true} {
			o := newOrder(blocks, random, 42)
			seen := make([]bool, blocks)
			for i := range uint64(blocks) {
				b := o.at(i)
				if b >= uint64(blocks) || seen[b] {
					t.Fatalf("%d blocks, random %v: block %d comes twice or does not exist", blocks, random, b)
				}
				seen[b] = true
				if o.at(i+3*uint64(blocks)) != b {
					t.Fatalf("%d blocks, random %v: the fourth pass goes another way", blocks, random)
				}
			}
		}
	}
}

func TestOrderIsShuffledByKey(t *testing.T) {
	a, b, runs, same := newOrder(4096, true, 1), newOrder(4096, true, 2), 0, 0
	for i := range uint64(4095) {
		if a.at(i+1) == a.at(i)+1 {
			runs++
		}
		if a.at(i) == b.at(i) {
			same++
		}
	}
	if runs > 20 || same > 20 { // about one is to be expected of either
		t.Errorf("%d neighbours follow each other, %d blocks stand alike under two keys", runs, same)
	}
}

func TestOrderLast(t *testing.T) {
	o := newOrder(10, true, 7)
	for n := uint64(1); n < 45; n++ {
		last := map[uint64]uint64{}
		for i := range n {
			last[o.at(i)] = i
		}
		for i := range min(n, 10) {
			if got := o.last(i, n); got != last[o.at(i)] {
				t.Fatalf("of %d operations the last on block %d is %d, want %d", n, o.at(i), got, last[o.at(i)])
			}
		}
	}
}
