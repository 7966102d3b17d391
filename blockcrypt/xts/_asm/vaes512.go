package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The main loop encrypts 512 bytes, 8 zmm registers of 4 blocks each. All but
// two round keys stay in registers, so the registers are dealt out by hand:
//
//	Z0-Z7    data
//	Z8-Z15   tweaks of the data, replaced during the rounds by the next ones
//	Z16-Z28  round keys 1 to 13, or 1 to 9, 0 and 10
//	Z29-Z31  scratch of the tweak arithmetic
//
// Of AES-256 round key 0 and the last one are read from the schedule. What is
// left over between the AES instructions is the arithmetic of the next tweaks,
// spread evenly: on the AES pipes every cycle counts, the others idle. Only
// the first round is kept free of it, where the loads and stores of two turns
// meet.
const (
	lanes     = 8             // data registers
	step512   = 64 * lanes    // bytes a turn of the loop
	batch     = 16            // sectors whose tweaks are encrypted together
	near      = 512           // bytes from the loads to the prefetches: the next turn,
	far       = 4096          // or, where the data comes from memory, the next page
	frameTK   = 0             // tweak xor last round key, one per data register
	frameCtr  = frameTK + 512 // IVs of the next four sectors
	frameStep = frameCtr + 64 // four times the IV step
	frameT    = frameStep + 64
	frameSize = frameT + 16*batch + 64 // one tweak is read beyond the batch
)

var (
	data  = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7}
	tweak = []VecPhysical{Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15}
	keys  = []VecPhysical{nil, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28}
	tmp   = []VecPhysical{Z29, Z30, Z31}
	low   = K1 // the low half of every block
	part  = K2 // the present part of a register, in the last 512 bytes of a sector
)

// General registers.
var (
	dst, src = R8, R9
	end      = R10 // of src
	sectors  = R11 // left
	loops    = R12 // 512-byte turns of a sector, without the last
	turn     = RBX // of them left in this sector
	rest     = R13 // two bits for each block of the last, partial turn; 0 if there is none
	frame    = RDX // 64-byte aligned
	next     = RCX // next tweak in the frame
	sched    = RAX // *schedule
	pf, bits = RDI, RSI
	ahead    = R14 // near or far
	stream   = R15 // not 0: store around the caches
)

// Offsets in the schedule; see type schedule.
const (
	schedWide  = 0
	schedEnc   = 128
	schedDec   = 368
	schedTweak = 608
)

type kernel512 struct {
	rounds  int
	decrypt bool
	c       consts512
	labels  int
}

type consts512 struct {
	shift, back [2]Mem
	rot         [2]Mem
	index       Mem
}

func vaes512() {
	c := constants512()
	for _, rounds := range []int{10, 14} {
		for _, decrypt := range []bool{false, true} {
			(&kernel512{rounds: rounds, decrypt: decrypt, c: c}).generate()
		}
	}
}

func constants512() (c consts512) {
	for i := range c.shift {
		var sh, back []uint64
		for lane := range 4 {
			n := uint64(4*i + lane)
			sh, back = append(sh, n, n), append(back, 64-n, 64-n)
		}
		c.shift[i], c.back[i] = quads(fmt.Sprintf("shift%d", i), sh), quads(fmt.Sprintf("back%d", i), back)
	}
	for i := range c.rot {
		var v []uint64
		for range 4 {
			for half := range 2 {
				v = append(v, rotation(i+1, 8*half))
			}
		}
		c.rot[i] = quads(fmt.Sprintf("rotate%d", i+1), v)
	}
	c.index = quads("index", []uint64{0, 0, 1, 0, 2, 0, 3, 0})
	return c
}

// rotation returns eight indices of a VPSHUFB that rotates left by n bytes,
// from byte at of the block on.
func rotation(n, at int) (v uint64) {
	for i := range 8 {
		v |= uint64((at+i+16-n)%16) << (8 * i)
	}
	return v
}

func quads(name string, v []uint64) Mem {
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i, x := range v {
		DATA(8*i, U64(x))
	}
	return m
}

func (k *kernel512) generate() {
	op := "encrypt"
	if k.decrypt {
		op = "decrypt"
	}
	name := fmt.Sprintf("%s%dVAES512", op, k.rounds)
	TEXT(name, 0, "func(s, dst, src *byte, sector, n int, iv, step uint64, stream int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s %ss n sectors of the given size in bytes with %d rounds.", name, op, k.rounds))
	k.prologue()
	k.encryptIVs()
	VSHUFI64X2(U8(0), data[0], data[0], tweak[0]) // not through memory: a short call waits for this
	emit(k.first()[1:])
	Label("sector")
	MOVQ(loops, turn)
	TESTQ(turn, turn)
	JZ(LabelRef("last"))
	Label("turn")
	k.block(k.advance(), false, 4)
	DECQ(turn)
	JNZ(LabelRef("turn"))
	Label("last")
	k.refillIfEmpty()
	TESTQ(rest, rest)
	JNZ(LabelRef("partial"))
	k.block(k.first(), false, 0)
	DECQ(sectors)
	JNZ(LabelRef("sector"))
	JMP(LabelRef("done"))
	Label("partial")
	k.block(k.first(), true, 0)
	DECQ(sectors)
	JNZ(LabelRef("sector"))
	Label("done")
	TESTQ(stream, stream)
	JZ(LabelRef("return"))
	SFENCE()
	Label("return")
	for _, key := range keys[1:] {
		VPXORQ(key, key, key)
	}
	VZEROUPPER()
	RET()
}

func (k *kernel512) prologue() {
	buf := AllocLocal(frameSize + 64)
	LEAQ(buf.Offset(63), frame)
	ANDQ(I8(-64), frame)
	Load(Param("s"), sched)
	Load(Param("dst"), dst)
	Load(Param("src"), src)
	Load(Param("sector"), loops)
	Load(Param("n"), sectors)
	MOVQ(loops, end)
	IMULQ(sectors, end)
	ADDQ(src, end)
	Load(Param("stream"), stream)
	MOVQ(U32(near), ahead)
	MOVQ(U32(far), RSI)
	TESTQ(stream, stream)
	CMOVQNE(RSI, ahead)

	// rest = 1<<(2*blocks of the partial turn) - 1; loops = turns - 1 if it is 0
	Comment("Turns of a sector")
	MOVQ(loops, RCX)
	ANDQ(U32(step512-1), RCX)
	SHRQ(U8(3), RCX)
	MOVL(U32(1), rest.As32())
	SHLQ(CL, rest)
	DECQ(rest)
	SHRQ(U8(9), loops)
	CMPQ(rest, U8(1))
	SBBQ(I8(0), loops)

	Comment("Round keys")
	off := schedEnc
	if k.decrypt {
		off = schedDec
	}
	for i := 1; i < k.rounds; i++ {
		VBROADCASTI32X4(Mem{Base: sched, Disp: off + 16*i}, keys[i])
	}
	if k.rounds == 10 {
		VMOVDQA64(k.wide(k.decrypt), keys[11])
		VMOVDQA64(k.wide(!k.decrypt), keys[12])
	}

	Comment("IVs of the first sectors")
	MOVL(U32(0x55), ESI)
	KMOVB(ESI, low)
	Load(Param("iv"), RSI)
	VPBROADCASTQ_Z(RSI, low, data[0])
	Load(Param("step"), RSI)
	VPBROADCASTQ_Z(RSI, low, data[1])
	VPMULLQ(k.c.index, data[1], data[2])
	VPADDQ(data[2], data[0], data[0])
	VPSLLQ(U8(2), data[1], data[1])
	VMOVDQA64(data[1], k.f(frameStep))
}

func (k *kernel512) f(off int) Mem { return Mem{Base: frame, Disp: off} }

// k0 and kr are the first and the last round key, four times each: in
// registers if AES-128 leaves some, else in the schedule.
func (k *kernel512) k0() Op {
	if k.rounds == 10 {
		return keys[11]
	}
	return k.wide(k.decrypt)
}

func (k *kernel512) kr() Op {
	if k.rounds == 10 {
		return keys[12]
	}
	return k.wide(!k.decrypt)
}

func (k *kernel512) wide(last bool) Mem {
	if last {
		return Mem{Base: sched, Disp: schedWide + 64}
	}
	return Mem{Base: sched, Disp: schedWide}
}

// refill encrypts the IVs of the next 16 sectors.
func (k *kernel512) refill() {
	VMOVDQA64(k.f(frameCtr), data[0])
	VMOVDQA64(k.f(frameStep), data[1])
	k.encryptIVs()
}

// encryptIVs encrypts 16 IVs, four registers of four, from the four in the
// first data register and four times their step in the second.
func (k *kernel512) encryptIVs() {
	Comment("Tweaks of the next 16 sectors")
	VPADDQ(data[1], data[1], data[5])
	VPADDQ(data[5], data[0], data[2])
	VPADDQ(data[5], data[5], data[6])
	VPADDQ(data[1], data[2], data[3])
	VPADDQ(data[1], data[0], data[1])
	VPADDQ(data[6], data[0], data[5])
	VMOVDQA64(data[5], k.f(frameCtr))
	for r := 0; r <= k.rounds; r++ {
		VBROADCASTI32X4(Mem{Base: sched, Disp: schedTweak + 16*r}, data[4])
		for i := range 4 {
			switch r {
			case 0:
				VPXORQ(data[4], data[i], data[i])
			case k.rounds:
				VAESENCLAST(data[4], data[i], data[i])
			default:
				VAESENC(data[4], data[i], data[i])
			}
		}
	}
	for i := range 4 {
		VMOVDQA64(data[i], k.f(frameT+64*i))
	}
	LEAQ(k.f(frameT), next)
}

// refillIfEmpty refills if the next sector has no tweak yet and there is one.
func (k *kernel512) refillIfEmpty() {
	LEAQ(k.f(frameT+16*batch), RSI)
	CMPQ(next, RSI)
	JNE(LabelRef("full"))
	CMPQ(sectors, U8(1))
	JE(LabelRef("full"))
	k.refill()
	Label("full")
}

// block encrypts one turn, whole or the partial one at the end of a sector,
// and meanwhile runs extra, which replaces the tweaks by the next ones, from
// the second round on. quiet is how many AES instructions to leave alone at
// the end.
func (k *kernel512) block(extra []func(), partial bool, quiet int) {
	aes, last := VAESENC, VAESENCLAST
	if k.decrypt {
		aes, last = VAESDEC, VAESDECLAST
	}
	LEAQ(Mem{Base: src, Index: ahead, Scale: 1}, pf)
	CMPQ(pf, end)
	CMOVQCC(src, pf)
	k.load(partial)
	var work []func()
	for j := range lanes {
		work = append(work,
			func() { VPXORQ(k.kr(), tweak[j], tmp[j%3]) },
			func() { VMOVDQA64(tmp[j%3], k.f(frameTK+64*j)) },
			func() { PREFETCHT0(Mem{Base: pf, Disp: 64 * j}) })
	}
	work = append(work, extra...)
	slots, done := lanes*(k.rounds-1), 0
	for slot := range slots {
		aes(keys[1+slot/lanes], data[slot%lanes], data[slot%lanes])
		due := min(len(work), len(work)*max(0, slot+1-lanes)/(slots-lanes-quiet))
		for ; done < due; done++ {
			work[done]()
		}
	}
	finish := func(j int) { last(k.f(frameTK+64*j), data[j], data[j]) }
	if partial {
		k.storePart(finish)
	} else {
		k.store(finish)
	}
}

// load reads a turn from src and whitens it.
func (k *kernel512) load(partial bool) {
	if partial {
		MOVQ(rest, bits)
	}
	for j := range lanes {
		from := Mem{Base: src, Disp: 64 * j}
		if partial {
			KMOVB(bits.As32(), part)
			SHRQ(U8(8), bits)
			VMOVDQU64_Z(from, part, data[j])
		} else {
			VMOVDQU64(from, data[j])
		}
		VPTERNLOGQ(U8(0x96), k.k0(), tweak[j], data[j])
	}
}

// store finishes a whole turn, through the caches or around them.
func (k *kernel512) store(finish func(j int)) {
	around, done := k.label("around"), k.label("stored")
	TESTQ(stream, stream)
	JNZ(LabelRef(around))
	for j := range lanes {
		finish(j)
		VMOVDQU64(data[j], Mem{Base: dst, Disp: 64 * j})
	}
	JMP(LabelRef(done))
	Label(around)
	for j := range lanes {
		finish(j)
		VMOVNTDQ(data[j], Mem{Base: dst, Disp: 64 * j})
	}
	Label(done)
	ADDQ(U32(step512), src)
	ADDQ(U32(step512), dst)
}

// storePart finishes the last, partial turn of a sector.
func (k *kernel512) storePart(finish func(j int)) {
	MOVQ(rest, bits)
	for j := range lanes {
		finish(j)
		KMOVB(bits.As32(), part)
		SHRQ(U8(8), bits)
		VMOVDQU64(data[j], part, Mem{Base: dst, Disp: 64 * j})
	}
	POPCNTQ(rest, bits)
	SHLQ(U8(3), bits)
	ADDQ(bits, src)
	ADDQ(bits, dst)
}

func (k *kernel512) label(name string) string {
	k.labels++
	return fmt.Sprintf("%s%d", name, k.labels)
}

func emit(work []func()) {
	for _, f := range work {
		f()
	}
}

// advance multiplies every tweak by x^32.
func (k *kernel512) advance() (w []func()) {
	for j := 0; j < lanes; j += 2 {
		w = append(w, k.mulBytes(4, tweak[j], tweak[j+1], tweak[j], tweak[j+1])...)
	}
	return w
}

// first makes the tweaks of a sector's first turn from its encrypted IV.
func (k *kernel512) first() (w []func()) {
	w = append(w, k.mulBits(0, tweak[0])...)
	w = append(w, k.mulBits(1, tweak[1])...)
	w = append(w, func() { ADDQ(I8(16), next) })
	w = append(w, k.mulBytes(1, tweak[0], tweak[1], tweak[2], tweak[3])...)
	w = append(w, k.mulBytes(2, tweak[0], tweak[1], tweak[4], tweak[5])...)
	w = append(w, k.mulBytes(2, tweak[2], tweak[3], tweak[6], tweak[7])...)
	return w
}

// mulBits sets t to the next encrypted IV times x^(4i) .. x^(4i+3), one power
// per 128-bit lane. Multiplying by x^s shifts each half left by s; the bits
// that leave the low half enter the high one, and those that leave the high
// one, c, come back as c * (x^7 + x^2 + x + 1).
func (k *kernel512) mulBits(i int, t VecPhysical) []func() {
	a, b, c := tmp[0], tmp[1], tmp[2]
	return []func(){
		func() { VBROADCASTI32X4(Mem{Base: next}, t) },
		func() { VPSRLVQ(k.c.back[i], t, a) },
		func() { VPSLLVQ(k.c.shift[i], t, t) },
		func() { VPSHUFD(U8(0x4e), a, a) }, // c in the low half
		func() { VMOVDQA64_Z(a, low, b) },  // c alone
		func() { VPADDQ(b, b, c) },         // c*x
		func() { VPTERNLOGQ(U8(0x96), a, c, t) },
		func() { VPADDQ(c, c, c) }, // c*x^2
		func() { VPSLLQ(U8(7), b, b) },
		func() { VPTERNLOGQ(U8(0x96), b, c, t) },
	}
}

// mulBytes sets p, q to s, t times x^(8n), n at most 4. Rotating a block left
// by n bytes puts the n bytes that leave it, c, at its low end: that is c
// times 1. c times x^7 + x^2 + x is added, for both registers at once: the
// products of s stand in the low half of the blocks of b, those of t in the
// high half.
func (k *kernel512) mulBytes(n int, s, t, p, q VecPhysical) []func() {
	a, b, c := tmp[0], tmp[1], tmp[2]
	rotate := func(from, to VecPhysical) {
		if n == 4 {
			VPSHUFD(U8(0x93), from, to)
		} else {
			VPSHUFB(k.c.rot[n-1], from, to)
		}
	}
	return []func(){
		func() { VPUNPCKHQDQ(t, s, a) },
		func() { VPSRLQ(U8(64-8*n), a, a) },
		func() { rotate(s, p) },
		func() { VPADDQ(a, a, b) },
		func() { rotate(t, q) },
		func() { VPADDQ(b, b, c) },
		func() { VPSLLQ(U8(7), a, a) },
		func() { VPTERNLOGQ(U8(0x96), a, c, b) },
		func() { VPXORQ(b, p, low, p) },
		func() { VPSHUFD(U8(0x4e), b, b) },
		func() { VPXORQ(b, q, low, q) },
	}
}
