package workload

import "math/bits"

// order says which block the i-th operation of a section touches. Sequential
// order counts up; random order is a permutation, so that each block comes
// once a pass, no two operations in flight meet, and the operation that wrote
// a block last can be computed instead of remembered.
type order struct {
	blocks uint64
	random bool
	half   uint // bits of one half of the Feistel network
	keys   [4]uint64
}

func newOrder(blocks int64, random bool, key uint64) order {
	o := order{blocks: uint64(blocks), random: random}
	o.half = max(1, uint(bits.Len64(o.blocks-1)+1)/2)
	for i := range o.keys {
		key = mix(key + 0x9e3779b97f4a7c15)
		o.keys[i] = key
	}
	return o
}

// at returns the block of operation i.
func (o *order) at(i uint64) uint64 {
	i %= o.blocks
	if !o.random {
		return i
	}
	// Cycle walking: the network permutes the next power of four, and what
	// falls outside goes through again.
	for i = o.permute(i); i >= o.blocks; {
		i = o.permute(i)
	}
	return i
}

// permute is a Feistel network of four rounds over 2*half bits.
func (o *order) permute(v uint64) uint64 {
	mask := uint64(1)<<o.half - 1
	left, right := v>>o.half, v&mask
	for _, k := range o.keys {
		left, right = right, left^(mix(right^k)&mask)
	}
	return left<<o.half | right
}

// last returns the last of n operations that touched the same block as
// operation i of the first pass.
func (o *order) last(i, n uint64) uint64 {
	return i + o.blocks*((n-1-i)/o.blocks)
}

// mix is the finaliser of splitmix64.
func mix(v uint64) uint64 {
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}
