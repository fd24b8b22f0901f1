package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the part of libchdb.so that the gateway calls. Handles are opaque pointers of the library, kept as
// uintptr because they never point into Go's memory.
type library struct {
	configFile string // of the engine; "": its own

	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv unsafe.Pointer) *uintptr
	queryWithParams   func(conn uintptr, query unsafe.Pointer, queryLen uintptr, format unsafe.Pointer, formatLen uintptr,
		names, nameLens, values, valueLens unsafe.Pointer, params uintptr) uintptr

	insertBegin   func(conn uintptr, query unsafe.Pointer, queryLen uintptr, format unsafe.Pointer, formatLen uintptr) uintptr
	insertAppend  func(stream uintptr, data unsafe.Pointer, length uintptr) int32
	insertDone    func(stream uintptr) uintptr
	insertError   func(stream uintptr) string
	insertDestroy func(stream uintptr)

	resultBuffer  func(result uintptr) *byte
	resultLength  func(result uintptr) uintptr
	resultError   func(result uintptr) string
	resultDestroy func(result uintptr)
}

// loadLibrary opens the shared library and turns its signal handlers off: Go's runtime needs its own.
func loadLibrary(path string) (lib *library, err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	lib = new(library)
	for name, function := range map[string]any{
		"chdb_set_signal_handlers_enabled": &lib.setSignalHandlers,
		"chdb_connect":                     &lib.connect,
		"chdb_query_with_params_n":         &lib.queryWithParams,
		"chdb_stream_insert_n":             &lib.insertBegin,
		"chdb_stream_append":               &lib.insertAppend,
		"chdb_stream_done":                 &lib.insertDone,
		"chdb_stream_insert_error":         &lib.insertError,
		"chdb_destroy_insert_stream":       &lib.insertDestroy,
		"chdb_result_buffer":               &lib.resultBuffer,
		"chdb_result_length":               &lib.resultLength,
		"chdb_result_error":                &lib.resultError,
		"chdb_destroy_query_result":        &lib.resultDestroy,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("%s lacks %s (is it the version that make deps installs?): %w", path, name, err)
		}
		purego.RegisterFunc(function, symbol)
	}
	lib.setSignalHandlers(0)
	return lib, nil
}

// open connects a new session to the engine, which the first session boots on the directory. All sessions of a process
// share one directory.
func (lib *library) open(dataPath string) (uintptr, error) {
	args := [][]byte{[]byte("clickhouse\x00"), []byte("--path=" + dataPath + "\x00")}
	if lib.configFile != "" {
		args = append(args, []byte("--config-file="+lib.configFile+"\x00"))
	}
	argv := make([]unsafe.Pointer, 0, len(args)+1)
	for _, arg := range args {
		argv = append(argv, unsafe.Pointer(unsafe.SliceData(arg)))
	}
	argv = append(argv, nil)
	conn := lib.connect(int32(len(args)), unsafe.Pointer(unsafe.SliceData(argv)))
	runtime.KeepAlive(args)
	runtime.KeepAlive(argv)
	if conn == nil || *conn == 0 {
		return 0, fmt.Errorf("the engine does not open %s", dataPath)
	}
	return *conn, nil
}

// query runs one statement with its {name:Type} parameters and returns its output in the format named.
func (lib *library) query(conn uintptr, statement, format string, params map[string]string) ([]byte, error) {
	names, values := newStringArray(len(params)), newStringArray(len(params))
	for name, value := range params {
		names.add(name)
		values.add(value)
	}
	query, queryLen := pointer([]byte(statement))
	name, nameLen := pointer([]byte(format))
	result := lib.queryWithParams(conn, query, queryLen, name, nameLen,
		names.pointers(), names.lengths(), values.pointers(), values.lengths(), uintptr(len(params)))
	runtime.KeepAlive(names)
	runtime.KeepAlive(values)
	return lib.take(result)
}

// take copies a result out of the library and frees it.
func (lib *library) take(result uintptr) ([]byte, error) {
	if result == 0 {
		return nil, errors.New("the engine gave no result")
	}
	defer lib.resultDestroy(result)
	if message := lib.resultError(result); message != "" {
		return nil, errors.New(message)
	}
	length := lib.resultLength(result)
	if length == 0 {
		return nil, nil
	}
	return bytes.Clone(unsafe.Slice(lib.resultBuffer(result), length)), nil
}

// pointer gives the address and length of data; the address is valid, not nil, also when data is empty.
func pointer(data []byte) (unsafe.Pointer, uintptr) {
	if len(data) == 0 {
		data = make([]byte, 1)[:0]
	}
	return unsafe.Pointer(unsafe.SliceData(data)), uintptr(len(data))
}

// stringArray holds strings as the two parallel arrays that the library takes.
type stringArray struct {
	texts []unsafe.Pointer
	sizes []uintptr
}

func newStringArray(capacity int) *stringArray {
	return &stringArray{texts: make([]unsafe.Pointer, 0, capacity), sizes: make([]uintptr, 0, capacity)}
}

func (a *stringArray) add(text string) {
	address, size := pointer([]byte(text))
	a.texts = append(a.texts, address)
	a.sizes = append(a.sizes, size)
}

func (a *stringArray) pointers() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(a.texts)) }
func (a *stringArray) lengths() unsafe.Pointer  { return unsafe.Pointer(unsafe.SliceData(a.sizes)) }
