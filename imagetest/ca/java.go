package ca

import (
	"bytes"
	"encoding/binary"
)

// javaClass is what [javaProbe] is called.
const javaClass = "CaProof"

// javaProbe assembles a class (JVM specification, chapter 4) whose main method opens
// the URL that is its argument and reads a byte of it: runtimes without a compiler
// run it too. It is what this is compiled to, for Java 5 and later:
//
//	public static void main(String[] a) throws Exception {
//		System.out.println(new java.net.URL(a[0]).openStream().read());
//	}
func javaProbe() []byte {
	var pool bytes.Buffer
	count := uint16(0)
	two := func(b *bytes.Buffer, v ...uint16) {
		for _, x := range v {
			b.Write(binary.BigEndian.AppendUint16(nil, x))
		}
	}
	entry := func(tag byte, v ...uint16) uint16 {
		pool.WriteByte(tag)
		two(&pool, v...)
		count++
		return count
	}
	text := func(s string) uint16 {
		pool.WriteByte(1)
		two(&pool, uint16(len(s)))
		pool.WriteString(s)
		count++
		return count
	}
	class := func(s string) uint16 { return entry(7, text(s)) }
	// ref is a field (9) or a method (10) of a class.
	ref := func(tag byte, owner uint16, name, kind string) uint16 {
		return entry(tag, owner, entry(12, text(name), text(kind)))
	}
	this, object := class(javaClass), class("java/lang/Object")
	url := class("java/net/URL")
	construct := ref(10, url, "<init>", "(Ljava/lang/String;)V")
	open := ref(10, url, "openStream", "()Ljava/io/InputStream;")
	read := ref(10, class("java/io/InputStream"), "read", "()I")
	out := ref(9, class("java/lang/System"), "out", "Ljava/io/PrintStream;")
	print := ref(10, class("java/io/PrintStream"), "println", "(I)V")
	main, kind, codeName := text("main"), text("([Ljava/lang/String;)V"), text("Code")

	var code bytes.Buffer
	op := func(opcode byte, arg ...uint16) {
		code.WriteByte(opcode)
		two(&code, arg...)
	}
	op(0xb2, out) // getstatic
	op(0xbb, url) // new
	op(0x59)      // dup
	op(0x2a)      // aload_0
	op(0x03)      // iconst_0
	op(0x32)      // aaload
	op(0xb7, construct)
	op(0xb6, open) // invokevirtual
	op(0xb6, read)
	op(0xb6, print)
	op(0xb1) // return

	var attr bytes.Buffer
	two(&attr, 5, 1) // max_stack, max_locals
	attr.Write(binary.BigEndian.AppendUint32(nil, uint32(code.Len())))
	attr.Write(code.Bytes())
	two(&attr, 0, 0) // no handlers, no attributes

	b := bytes.NewBuffer([]byte{0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 49})
	two(b, count+1)
	b.Write(pool.Bytes())
	two(b, 0x21, this, object, 0, 0, 1) // public, no interfaces, no fields, one method
	two(b, 0x09, main, kind, 1, codeName)
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(attr.Len())))
	b.Write(attr.Bytes())
	two(b, 0)
	return b.Bytes()
}
