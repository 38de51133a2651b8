package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"

	"coffer/internal/scratch"
)

// A Level chooses between speed and size.
type Level string

const (
	Off     Level = "off"
	Fastest Level = "fastest"
	Default Level = "default"
	Better  Level = "better"
	Best    Level = "best"
)

// Levels lists all levels, from the fastest to the smallest.
func Levels() []Level { return []Level{Off, Fastest, Default, Better, Best} }

// Codec bytes at the head of every sealed plain text. Part of the format.
const (
	codecRaw  = 0
	codecZstd = 1
)

// keptBuffer is as large as nearly all blocks: chunks have 1 MiB on average,
// and one in 20 more than 2 MiB.
const keptBuffer = 2<<20 + 4<<10

// MaxBlock bounds the plain size of a block: no decoder allocates more for
// one, whatever the bytes say.
const MaxBlock = 32 << 20

var (
	blockAD  = []byte("coffer block v1")
	recordAD = "coffer record v1\x00"
)

// A Box seals and opens with one set of keys and one level. It is safe for
// concurrent use.
type Box struct {
	keys *Keys
	rand io.Reader
	enc  *zstd.Encoder // nil for Off
	rec  *zstd.Encoder // records are small and read often: always Default
	dec  *zstd.Decoder
	tmp  *scratch.Shelf // encoded and plain bytes while opening and checking
	sub  subkeys
}

// NewBox returns a Box that draws nonces from rand and keeps at most workers
// compressors.
func NewBox(keys *Keys, rand io.Reader, level Level, workers int) (*Box, error) {
	b := &Box{keys: keys, rand: rand, tmp: scratch.NewShelf(2*workers, keptBuffer)}
	var err error
	if level != Off {
		if b.enc, err = newEncoder(level, workers); err != nil {
			return nil, err
		}
	}
	if b.rec, err = newEncoder(Default, 1); err != nil {
		return nil, err
	}
	b.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxBlock), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return b, nil
}

func newEncoder(level Level, workers int) (*zstd.Encoder, error) {
	speed := map[Level]zstd.EncoderLevel{Fastest: zstd.SpeedFastest, Default: zstd.SpeedDefault,
		Better: zstd.SpeedBetterCompression, Best: zstd.SpeedBestCompression}[level]
	if speed == 0 {
		return nil, fmt.Errorf("compression level %q is not one of off, fastest, default, better, best", level)
	}
	// No checksum in the frame: the AEAD has one. A single segment always says its
	// size, which inflate needs. A window of 1 MiB holds any
	// solid block and keeps an encoder under 3 MiB.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(workers),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return e, nil
}

// SealBlock appends the sealed form of plain to dst, and opens it again to see
// that it says the same: bad memory and codec bugs stop here.
func (b *Box) SealBlock(dst, plain []byte) ([]byte, error) {
	if len(plain) > MaxBlock {
		return nil, fmt.Errorf("a block of %d bytes is over the limit of %d", len(plain), MaxBlock)
	}
	at := len(dst)
	dst = b.encode(b.enc, append(dst, make([]byte, nonceSize)...), plain)
	dst, err := b.sub.seal(b.rand, &b.keys.block, dst, at, blockAD)
	if err != nil {
		return nil, fmt.Errorf("seal block: %w", err)
	}
	if err := b.check(dst[at:], plain); err != nil {
		return nil, err
	}
	return dst, nil
}

// check proves that sealed opens to plain.
func (b *Box) check(sealed, plain []byte) error {
	buf := b.tmp.Get(len(plain) + slack)
	got, err := b.OpenBlock(buf, sealed, len(plain))
	defer b.tmp.Put(buf)
	if err != nil {
		return fmt.Errorf("check sealed block: %w", err)
	}
	if !bytes.Equal(got, plain) {
		return errors.New("check sealed block: it opens to other bytes; this machine's memory or processor may be failing")
	}
	return nil
}

// OpenBlock appends the plain bytes of a sealed block to dst. A block of more
// than limit plain bytes is damage.
func (b *Box) OpenBlock(dst, sealed []byte, limit int) ([]byte, error) {
	return b.openWith(&b.keys.block, dst, sealed, blockAD, limit)
}

// CheckBlock proves that a sealed block is, byte for byte, what was once sealed
// with these keys, and opened again before it left that machine's memory. It
// costs a third of opening it.
func (b *Box) CheckBlock(sealed []byte) error {
	tmp := b.tmp.Get(len(sealed))
	defer b.tmp.Put(tmp)
	_, err := b.sub.open(&b.keys.block, tmp, sealed, blockAD)
	return err
}

// SealRecord returns the sealed form of plain as the content of the object
// called name.
func (b *Box) SealRecord(name string, plain []byte) ([]byte, error) {
	dst := b.encode(b.rec, make([]byte, nonceSize, nonceSize+1+len(plain)/2+tagSize), plain)
	dst, err := b.sub.seal(b.rand, &b.keys.record, dst, 0, []byte(recordAD+name))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return dst, nil
}

// OpenRecord returns the plain bytes of the object called name. More than
// limit plain bytes is damage.
func (b *Box) OpenRecord(name string, sealed []byte, limit int) ([]byte, error) {
	plain, err := b.openWith(&b.keys.record, nil, sealed, []byte(recordAD+name), limit)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return plain, nil
}

func (b *Box) openWith(key *[KeySize]byte, dst, sealed, ad []byte, limit int) ([]byte, error) {
	tmp := b.tmp.Get(len(sealed))
	defer b.tmp.Put(tmp)
	encoded, err := b.sub.open(key, tmp, sealed, ad)
	if err != nil {
		return nil, err
	}
	return b.decode(dst, encoded, limit)
}

// encode appends the codec byte and the encoded form of plain to dst.
func (b *Box) encode(enc *zstd.Encoder, dst, plain []byte) []byte {
	at := len(dst)
	if enc != nil && compressible(plain) {
		dst = enc.EncodeAll(plain, append(dst, codecZstd))
		if len(dst)-at-1 < len(plain) {
			return dst
		}
	}
	return append(append(dst[:at], codecRaw), plain...)
}

// compressible is a cheap test on samples, so that media and encrypted files
// are not put through the compressor. Below 16 KiB compressing costs less than
// being wrong. 4 KiB of random bytes or of a gzip file are estimated at 0 to
// 0.065, text and programs at 0.3 and more.
func compressible(plain []byte) bool {
	const sample, samples = 4 << 10, 4
	if len(plain) <= sample*samples {
		return true
	}
	step := (len(plain) - sample) / (samples - 1)
	for i := range samples {
		if compress.Estimate(plain[i*step:i*step+sample]) > 0.1 {
			return true
		}
	}
	return false
}

// decode appends the plain form of encoded (codec byte first) to dst.
func (b *Box) decode(dst, encoded []byte, limit int) ([]byte, error) {
	codec, body := encoded[0], encoded[1:]
	switch codec {
	case codecRaw:
		if len(body) > limit {
			return nil, fmt.Errorf("%d plain bytes where %d are the limit: %w", len(body), limit, ErrDamaged)
		}
		return append(dst, body...), nil
	case codecZstd:
		return b.inflate(dst, body, limit)
	}
	return nil, fmt.Errorf("unknown codec %d: %w", codec, ErrDamaged)
}

// slack is room behind the plain bytes: with it the decoder may copy in wide
// steps to the end, which its last block is otherwise denied.
const slack = 64

// inflate decodes a zstd frame into at most limit bytes: the decoder stops at
// dst's capacity, a frame that is longer than it says is damage, and the frame's own claim of its size is checked first.
func (b *Box) inflate(dst, body []byte, limit int) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(body); err != nil || !head.HasFCS || head.FrameContentSize > uint64(limit) {
		return nil, fmt.Errorf("zstd frame's size: %w", ErrDamaged)
	}
	size := int(head.FrameContentSize)
	if free := cap(dst) - len(dst); free < size {
		dst = append(make([]byte, 0, len(dst)+size+slack), dst...)
	}
	out, err := b.dec.DecodeAll(body, dst[:len(dst):min(cap(dst), len(dst)+size+slack)])
	if err != nil || len(out) != len(dst)+size {
		return nil, fmt.Errorf("decode zstd: %v: %w", err, ErrDamaged)
	}
	return out, nil
}
