package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vexKernel is written in instructions that have 16 registers of 16 or 32
// bytes: AES-NI with AVX or AVX2, or VAES with AVX2. Eight registers hold
// data; the tweaks lie in the stack frame, those of this turn and, made
// between the AES instructions, those of the next.
type vexKernel struct {
	suffix  string
	width   int // bytes of a data register
	wide    int // bytes of a register of tweaks
	rounds  int
	decrypt bool
	v, t    []VecPhysical // all registers, as data and as tweaks
	low     Mem           // mask: the low half of every block
	rotate  [2]Mem        // shuffles that rotate left by 1 and 2 bytes
	labels  int
}

// Vector registers beside the data, by number.
const (
	vKey  = 8 // round key
	vA    = 9
	vB    = 10
	vH    = 11
	vP    = 12
	vQ    = 13
	vRot  = 14 // rotate by the bytes of a turn's power of x
	vMask = 15 // low
)

// General registers that differ from those of kernel512.
var (
	cur, nxt = RSI, RDI // tweaks of this turn, and of the next
	scratch  = R14
	iv       = R15 // of the next sector without tweak
)

func vex() {
	x := []VecPhysical{X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15}
	y := []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	low := quads("low", []uint64{^uint64(0), 0, ^uint64(0), 0})
	var rotate [2]Mem
	for i := range rotate {
		a, b := rotation(i+1, 0), rotation(i+1, 8)
		rotate[i] = quads(fmt.Sprintf("rotate%d", i+1), []uint64{a, b, a, b})
	}
	for _, k := range []vexKernel{
		{suffix: "VAES256", width: 32, wide: 32, v: y, t: y},
		{suffix: "AESNIAVX2", width: 16, wide: 32, v: x, t: y},
		{suffix: "AESNIAVX", width: 16, wide: 16, v: x, t: x},
	} {
		k.low, k.rotate = low, rotate
		for _, k.rounds = range []int{10, 14} {
			for _, k.decrypt = range []bool{false, true} {
				k.labels = 0
				k.generate()
			}
		}
	}
}

// The frame, 64-byte aligned.
func (k *vexKernel) turnBytes() int { return lanes * k.width }
func (k *vexKernel) batch() int     { return lanes * k.width / 16 } // sectors whose tweaks are encrypted together
func (k *vexKernel) atEven() int    { return 0 }
func (k *vexKernel) atOdd() int     { return k.turnBytes() }
func (k *vexKernel) atPart() int    { return 2 * k.turnBytes() } // the partial turn passes through here
func (k *vexKernel) atT() int       { return 3 * k.turnBytes() }
func (k *vexKernel) tweaks() int    { return k.turnBytes() / k.wide }      // registers of them
func (k *vexKernel) size() int      { return k.atT() + 16*k.batch() + 16 } // one tweak is read beyond the batch

func (k *vexKernel) f(off int) Mem { return Mem{Base: frame, Disp: off} }

func (k *vexKernel) label(name string) string {
	k.labels++
	return fmt.Sprintf("%s%d", name, k.labels)
}

func (k *vexKernel) generate() {
	op := "encrypt"
	if k.decrypt {
		op = "decrypt"
	}
	name := fmt.Sprintf("%s%d%s", op, k.rounds, k.suffix)
	TEXT(name, 0, "func(s, dst, src *byte, sector, n int, iv, step uint64, stream int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s %ss n sectors of the given size in bytes with %d rounds.", name, op, k.rounds))
	k.prologue()
	k.refill()
	emit(k.first())
	XCHGQ(cur, nxt)
	Label("sector")
	MOVQ(loops, turn)
	TESTQ(turn, turn)
	JZ(LabelRef("last"))
	Label("turn")
	k.block(src, dst, k.advance())
	k.step()
	DECQ(turn)
	JNZ(LabelRef("turn"))
	Label("last")
	k.refillIfEmpty()
	TESTQ(rest, rest)
	JNZ(LabelRef("partial"))
	k.block(src, dst, k.first())
	k.step()
	DECQ(sectors)
	JNZ(LabelRef("sector"))
	JMP(LabelRef("done"))
	Label("partial")
	k.partial()
	DECQ(sectors)
	JNZ(LabelRef("sector"))
	Label("done")
	CMPQ(k.stream(), U8(0))
	JE(LabelRef("return"))
	SFENCE()
	Label("return")
	VPXOR(k.v[vKey], k.v[vKey], k.v[vKey])
	VZEROUPPER()
	RET()
}

func (k *vexKernel) prologue() {
	buf := AllocLocal(k.size() + 64)
	LEAQ(buf.Offset(63), frame)
	ANDQ(I8(-64), frame)
	Load(Param("s"), sched)
	Load(Param("dst"), dst)
	Load(Param("src"), src)
	Load(Param("sector"), loops)
	Load(Param("n"), sectors)
	Load(Param("iv"), iv)

	// rest = bytes of the partial turn; loops = turns - 1 if it is 0
	Comment("Turns of a sector")
	MOVQ(loops, rest)
	ANDQ(U32(k.turnBytes()-1), rest)
	SHRQ(U8(shift(k.turnBytes())), loops)
	CMPQ(rest, U8(1))
	SBBQ(I8(0), loops)

	LEAQ(k.f(k.atEven()), nxt)
	LEAQ(k.f(k.atOdd()), cur)
	VMOVDQU(k.low, k.t[vMask])
	VMOVDQU(k.rotate[k.width/16-1], k.t[vRot])
}

func shift(n int) (s int) {
	for ; n > 1; n /= 2 {
		s++
	}
	return s
}

// broadcast reads 16 bytes into every 128-bit lane of a register.
func broadcast(from Mem, to VecPhysical) {
	if to.Size() == 32 {
		VBROADCASTI128(from, to)
	} else {
		VMOVDQU(from, to)
	}
}

// refill encrypts the IVs of the next batch of sectors.
func (k *vexKernel) refill() {
	Comment("Tweaks of the next sectors")
	Load(Param("step"), scratch)
	for j := range lanes {
		VMOVQ(iv, xmm(j))
		ADDQ(scratch, iv)
		if k.width == 32 {
			VMOVQ(iv, xmm(vA))
			ADDQ(scratch, iv)
			VINSERTI128(U8(1), xmm(vA), k.v[j], k.v[j])
		}
	}
	for r := 0; r <= k.rounds; r++ {
		broadcast(Mem{Base: sched, Disp: schedTweak + 16*r}, k.v[vKey])
		for j := range lanes {
			switch r {
			case 0:
				VPXOR(k.v[vKey], k.v[j], k.v[j])
			case k.rounds:
				VAESENCLAST(k.v[vKey], k.v[j], k.v[j])
				VMOVDQA(k.v[j], k.f(k.atT()+k.width*j))
			default:
				VAESENC(k.v[vKey], k.v[j], k.v[j])
			}
		}
	}
	LEAQ(k.f(k.atT()), next)
}

func xmm(i int) VecPhysical {
	return []VecPhysical{X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15}[i]
}

// refillIfEmpty refills if the next sector has no tweak yet and there is one.
func (k *vexKernel) refillIfEmpty() {
	LEAQ(k.f(k.atT()+16*k.batch()), scratch)
	CMPQ(next, scratch)
	JNE(LabelRef("full"))
	CMPQ(sectors, U8(1))
	JE(LabelRef("full"))
	k.refill()
	Label("full")
}

// block encrypts one turn and meanwhile, from the second round on, runs extra,
// which writes the next tweaks to nxt.
func (k *vexKernel) block(src, dst Register, extra []func()) {
	aes, last := VAESENC, VAESENCLAST
	off := schedEnc
	if k.decrypt {
		aes, last, off = VAESDEC, VAESDECLAST, schedDec
	}
	key := k.v[vKey]
	broadcast(Mem{Base: sched, Disp: off}, key)
	for j := range lanes {
		VPXOR(Mem{Base: src, Disp: k.width * j}, key, k.v[j])
		VPXOR(Mem{Base: cur, Disp: k.width * j}, k.v[j], k.v[j])
	}
	work := append(k.prefetch(), extra...)
	slots, done := lanes*(k.rounds-1), 0
	for slot := range slots {
		if slot%lanes == 0 {
			broadcast(Mem{Base: sched, Disp: off + 16*(1+slot/lanes)}, key)
		}
		aes(key, k.v[slot%lanes], k.v[slot%lanes])
		due := min(len(work), len(work)*max(0, slot+1-lanes)/(slots-lanes-lanes/2))
		for ; done < due; done++ {
			work[done]()
		}
	}
	broadcast(Mem{Base: sched, Disp: off + 16*k.rounds}, key)
	k.store(dst, func(j int) {
		last(key, k.v[j], k.v[j])
		VPXOR(Mem{Base: cur, Disp: k.width * j}, k.v[j], k.v[j])
	})
	XCHGQ(cur, nxt)
}

// prefetch asks for the data near ahead, also behind the end of src: it cannot
// fault, and minding the end costs more than it saves.
func (k *vexKernel) prefetch() (w []func()) {
	for i := 0; i < k.turnBytes(); i += 64 {
		w = append(w, func() { PREFETCHT0(Mem{Base: src, Disp: near + i}) })
	}
	return w
}

// store finishes a turn and writes it, through the caches or around them. The
// partial turn always stays in the caches.
func (k *vexKernel) store(to Register, finish func(j int)) {
	through := func() {
		for j := range lanes {
			finish(j)
			VMOVDQU(k.v[j], Mem{Base: to, Disp: k.width * j})
		}
	}
	if to != dst {
		through()
		return
	}
	around, stored := k.label("around"), k.label("stored")
	CMPQ(k.stream(), U8(0))
	JNE(LabelRef(around))
	through()
	JMP(LabelRef(stored))
	Label(around)
	for j := range lanes {
		finish(j)
		VMOVNTDQ(k.v[j], Mem{Base: to, Disp: k.width * j})
	}
	Label(stored)
}

// stream is the argument of that name.
func (k *vexKernel) stream() Mem { return NewParamAddr("stream", 56) }

func (k *vexKernel) step() {
	ADDQ(U32(k.turnBytes()), src)
	ADDQ(U32(k.turnBytes()), dst)
}

// partial passes the last, partial turn of a sector through the frame and
// wipes it there.
func (k *vexKernel) partial() {
	copyBlocks := func(name string, to, from Mem) {
		XORQ(scratch, scratch)
		Label(name)
		to.Index, to.Scale, from.Index, from.Scale = scratch, 1, scratch, 1
		VMOVDQU(from, X9)
		VMOVDQU(X9, to)
		ADDQ(I8(16), scratch)
		CMPQ(scratch, rest)
		JB(LabelRef(name))
	}
	copyBlocks("copyin", k.f(k.atPart()), Mem{Base: src})
	// turn is free between the turns
	LEAQ(k.f(k.atPart()), turn)
	k.block(turn, turn, k.first())
	copyBlocks("copyout", Mem{Base: dst}, k.f(k.atPart()))
	VPXOR(k.v[vA], k.v[vA], k.v[vA])
	for j := range lanes {
		VMOVDQA(k.v[vA], k.f(k.atPart()+k.width*j))
	}
	ADDQ(rest, src)
	ADDQ(rest, dst)
}

// advance multiplies every tweak by x to the number of blocks of a turn.
func (k *vexKernel) advance() (w []func()) {
	for j := 0; j < k.tweaks(); j += 2 {
		w = append(w, k.mulBytes(k.width/16, k.t[vRot], cur, j, j)...)
	}
	return w
}

// first makes the tweaks of a sector's first turn from its encrypted IV: t of
// it, doubled where a register holds two blocks, then times x^2, x^4, ...
func (k *vexKernel) first() (w []func()) {
	w = append(w, func() { broadcast(Mem{Base: next}, k.t[vA]) },
		func() { ADDQ(I8(16), next) })
	blocks := k.wide / 16
	if blocks == 2 {
		w = append(w, func() { VMOVDQA(k.t[vA], k.t[vB]) })
		w = append(w, k.mulBits(1)...)
		w = append(w, func() { VPBLENDD(U8(0xf0), k.t[vA], k.t[vB], k.t[vA]) })
	}
	w = append(w, func() { VMOVDQA(k.t[vA], Mem{Base: nxt}) })
	for have := 1; have < k.tweaks(); have *= 2 {
		if power := have * blocks; power == 8 {
			for j := 0; j < have; j += 2 {
				w = append(w, k.mulBytes(1, k.rotate[0], nxt, j, have+j)...)
			}
			continue
		}
		for j := range have {
			w = append(w, func() { VMOVDQA(Mem{Base: nxt, Disp: k.wide * j}, k.t[vA]) })
			w = append(w, k.mulBits(have*blocks)...)
			w = append(w, func() { VMOVDQA(k.t[vA], Mem{Base: nxt, Disp: k.wide * (have + j)}) })
		}
	}
	return w
}

// mulBits multiplies the blocks in vA by x^n, n below 8. The bits that leave
// the low half enter the high one, and those that leave the high one, c, come
// back as c * (x^7 + x^2 + x + 1).
func (k *vexKernel) mulBits(n int) []func() {
	a, c, p, q := k.t[vA], k.t[vH], k.t[vP], k.t[vQ]
	return []func(){
		func() { VPSRLQ(U8(64-n), a, c) },
		func() { VPSLLQ(U8(n), a, a) },
		func() { VPSHUFD(U8(0x4e), c, c) }, // c in the low half
		func() { VPXOR(c, a, a) },
		func() { VPAND(k.t[vMask], c, c) }, // c alone
		func() { VPADDQ(c, c, p) },         // c*x
		func() { VPADDQ(p, p, q) },         // c*x^2
		func() { VPSLLQ(U8(7), c, c) },
		func() { VPXOR(p, q, q) },
		func() { VPXOR(c, a, a) },
		func() { VPXOR(q, a, a) },
	}
}

// mulBytes multiplies tweaks i and i+1 at from by x^(8n) and stores them as to
// and to+1 at nxt; see mulBytes of kernel512 for how.
func (k *vexKernel) mulBytes(n int, rotate Op, from Register, i, to int) []func() {
	at := func(base Register, i int) Mem { return Mem{Base: base, Disp: k.wide * i} }
	a, b, h, p, q := k.t[vA], k.t[vB], k.t[vH], k.t[vP], k.t[vQ]
	return []func(){
		func() { VMOVDQA(at(from, i), a) },
		func() { VMOVDQA(at(from, i+1), b) },
		func() { VPUNPCKHQDQ(b, a, h) },
		func() { VPSHUFB(rotate, a, a) },
		func() { VPSRLQ(U8(64-8*n), h, h) },
		func() { VPSHUFB(rotate, b, b) },
		func() { VPADDQ(h, h, p) },
		func() { VPSLLQ(U8(7), h, h) },
		func() { VPADDQ(p, p, q) },
		func() { VPXOR(p, h, h) },
		func() { VPXOR(q, h, h) },
		func() { VPAND(k.t[vMask], h, p) },
		func() { VPSRLDQ(U8(8), h, h) },
		func() { VPXOR(p, a, a) },
		func() { VPXOR(h, b, b) },
		func() { VMOVDQA(a, at(nxt, to)) },
		func() { VMOVDQA(b, at(nxt, to+1)) },
	}
}
