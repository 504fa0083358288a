/*
 * The hot loops of profiling: one pass over a column fills the cells of all its segments.
 *
 * `Cells` is one column in every segment: counts, moments, a KLL sketch, a HyperLogLog sketch and the commonest
 * values of each. `fallback.py` is the same class in numpy and says in fewer words what is computed here; both give
 * the same bytes, and the tests compare them. Nothing here knows of Arrow, numpy or Python's objects beyond the
 * buffer protocol. The interpreter lock is released while values are read, so columns can be profiled in parallel.
 *
 * Formats and constants come from Apache DataSketches (https://github.com/apache/datasketches-cpp):
 *   hashing         common/include/MurmurHash3.h, seed 9001 (common_defs.hpp), hll/include/HllUtil.hpp (coupons)
 *   HLL image       hll/include/HllArray-internal.hpp, CouponList-internal.hpp
 *   KLL image       kll/include/kll_sketch_impl.hpp, level capacities: kll_helper_impl.hpp
 *   frequent items  fi/include/frequent_items_sketch_impl.hpp
 *
 * This file is the Python side; what is computed is in `compiled`, from `words.h` and `hashing.h` up to `reading.h` and
 * `images.h`.
 *
 * Every buffer is read through `load_*` (memcpy), because Arrow does not promise that the values of a slice or of a
 * memory-mapped file are aligned. Every row number, code and offset that comes from outside is checked before use.
 * What is true of a row lies in Arrow's bitmaps, the lowest bit first.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "compiled/images.h"
#include "compiled/reading.h"
#include "compiled/sealed.h"

#define REVISION 3 /* of the interface and of what is computed; as in fallback.py */

static PyObject *raise(int trouble)
{
    switch (trouble) {
    case NO_MEMORY: return PyErr_NoMemory();
    case BAD_ROW: PyErr_SetString(PyExc_ValueError, "order names a row that does not exist"); break;
    case BAD_CODE: PyErr_SetString(PyExc_ValueError, "a code names a text that does not exist"); break;
    default: PyErr_SetString(PyExc_ValueError, "offsets do not fit the text"); break;
    }
    return NULL;
}

/* A contiguous buffer of `count` elements of `size` bytes (count < 0: any); None gives NULL where allowed. */
static int view_of(PyObject *object, Py_buffer *view, const char *what, int64_t size, int64_t count, int optional)
{
    view->obj = NULL;
    view->buf = NULL;
    view->len = 0;
    if (object == Py_None && optional) return 1;
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) return 0;
    if (view->len % size || (count >= 0 && view->len / size != count)) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, which is not the %lld-byte elements asked for", what,
                     view->len, (long long)size);
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

/* One code for each row, in 4 or 8 bytes; None gives NULL. */
static int codes_of(PyObject *object, Py_buffer *view, int64_t count)
{
    view->obj = NULL;
    view->buf = NULL;
    if (object == Py_None) return 1;
    if (PyObject_GetBuffer(object, view, PyBUF_ND) < 0) return 0;
    if ((view->itemsize == 4 || view->itemsize == 8) && view->len == count * view->itemsize) return 1;
    PyErr_Format(PyExc_ValueError, "codes have %zd bytes, which are not 4 or 8 for each row", view->len);
    PyBuffer_Release(view);
    return 0;
}

/* Offsets know whether they are of 4 or 8 bytes; there are `count` of them (count < 0: any, but at least one). */
static int offsets_of(PyObject *object, Py_buffer *view, int64_t count)
{
    if (PyObject_GetBuffer(object, view, PyBUF_ND) < 0) return 0;
    int64_t found = view->itemsize == 4 || view->itemsize == 8 ? view->len / view->itemsize : -1;
    if (found < 1 || (count >= 0 && found != count)) {
        PyErr_SetString(PyExc_ValueError, "there is one offset more than there are texts, in 4 or 8 bytes");
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

/* Cells exist before the lock is released; groups lie one after the other within the rows. */
static int check_groups(Cells *self, int64_t places, const Py_buffer *bounds, const Py_buffer *numbers)
{
    int64_t groups = numbers->len / 8, before = 0;
    for (int64_t g = 0; g <= groups; g++) {
        int64_t bound = load_i64((const uint8_t *)bounds->buf + 8 * g);
        if (bound < before || bound > places) {
            PyErr_SetString(PyExc_ValueError, "bounds must ascend and stay within the rows");
            return 0;
        }
        before = bound;
    }
    for (int64_t g = 0; g < groups; g++) {
        int64_t number = load_i64((const uint8_t *)numbers->buf + 8 * g);
        if (number < 0 || number > INT32_MAX) {
            PyErr_SetString(PyExc_ValueError, "a cell number is out of range");
            return 0;
        }
        int64_t had = self->cell_count;
        if (!grow((void **)&self->cells, &self->cell_count, number + 1, sizeof *self->cells)) goto memory;
        if (self->cell_count > had)
            memset(self->cells + had, 0, (size_t)(self->cell_count - had) * sizeof *self->cells);
        if (!self->cells[number] && !(self->cells[number] = calloc(1, sizeof(Cell)))) goto memory;
    }
    return 1;
memory:
    PyErr_NoMemory();
    return 0;
}

static PyObject *read_unlocked(Cells *self, Chunk *chunk, PyObject *bounds_object, PyObject *cells_object,
                               int64_t places)
{
    Py_buffer bounds, numbers;
    PyObject *result = NULL;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "in use by another thread, or unusable after an error");
        return NULL;
    }
    if (!view_of(cells_object, &numbers, "cells", 8, -1, 0)) return NULL;
    if (view_of(bounds_object, &bounds, "bounds", 8, numbers.len / 8 + 1, 0)) {
        if (check_groups(self, places, &bounds, &numbers)) {
            int trouble = NO_MEMORY;
            Scratch *scratch = take_scratch();
            if (scratch) {
                self->busy = 1;
                Py_BEGIN_ALLOW_THREADS
                trouble = read_chunk(self, chunk, bounds.buf, numbers.buf, numbers.len / 8, scratch);
                Py_END_ALLOW_THREADS
                self->busy = trouble != FINE;
                give_back(scratch);
            }
            result = trouble ? raise(trouble) : Py_NewRef(Py_None);
        }
        PyBuffer_Release(&bounds);
    }
    PyBuffer_Release(&numbers);
    return result;
}

/* A bitmap that holds the rows; None gives NULL where allowed. */
static int bitmap_of(PyObject *object, Py_buffer *view, const char *what, int64_t offset, int64_t rows, int optional)
{
    if (!view_of(object, view, what, 1, -1, optional)) return 0;
    if (view->obj && (offset < 0 || view->len < (offset + rows + 7) / 8)) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, which are too few bits for the rows", what, view->len);
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

PyDoc_STRVAR(add_doc, "add(rows, values, valid, bit_offset, order, bounds, cells): see fallback.Cells.add");

static PyObject *Cells_add(PyObject *object, PyObject *arguments)
{
    Cells *self = (Cells *)object;
    PyObject *values_object, *valid_object, *order_object, *bounds, *cells, *result = NULL;
    long long rows, bit_offset;
    if (!PyArg_ParseTuple(arguments, "LOOLOOO", &rows, &values_object, &valid_object, &bit_offset, &order_object,
                          &bounds, &cells))
        return NULL;
    if (self->kind == TEXTS || self->kind == HASHES || rows < 0 || rows > INT64_MAX / 16
        || bit_offset > INT64_MAX / 16) {
        PyErr_SetString(PyExc_ValueError, "too many rows or fewer than none, or cells that take add_texts");
        return NULL;
    }
    Py_buffer values, valid, order;
    int bare = self->kind == NULLS || self->kind == OBJECTS;
    if (self->kind == BOOLEANS) {
        if (!bitmap_of(values_object, &values, "values", bit_offset, rows, 0)) return NULL;
    } else if (!view_of(values_object, &values, "values", 8, rows, bare)) {
        return NULL;
    }
    if (bitmap_of(valid_object, &valid, "valid", bit_offset, rows, 1)) {
        if (view_of(order_object, &order, "order", 8, -1, 1)) {
            Chunk chunk = {.rows = rows, .values = values.buf, .valid = valid.buf, .bit_offset = bit_offset,
                           .order = order.buf};
            result = read_unlocked(self, &chunk, bounds, cells, order.obj ? order.len / 8 : rows);
            if (order.obj) PyBuffer_Release(&order);
        }
        if (valid.obj) PyBuffer_Release(&valid);
    }
    if (values.obj) PyBuffer_Release(&values);
    return result;
}

PyDoc_STRVAR(add_texts_doc,
             "add_texts(rows, codes, offsets, text, valid, bit_offset, order, bounds, cells): "
             "see fallback.Cells.add_texts");

static PyObject *Cells_add_texts(PyObject *object, PyObject *arguments)
{
    Cells *self = (Cells *)object;
    PyObject *codes_object, *offsets_object, *text_object, *valid_object, *order_object, *bounds, *cells;
    PyObject *result = NULL;
    long long rows, bit_offset;
    if (!PyArg_ParseTuple(arguments, "LOOOOLOOO", &rows, &codes_object, &offsets_object, &text_object, &valid_object,
                          &bit_offset, &order_object, &bounds, &cells))
        return NULL;
    if ((self->kind != TEXTS && self->kind != HASHES) || rows < 0 || rows > INT64_MAX / 16
        || bit_offset > INT64_MAX / 16) {
        PyErr_SetString(PyExc_ValueError, "too many rows or fewer than none, or cells that do not take texts");
        return NULL;
    }
    Py_buffer codes, offsets, text, valid, order;
    if (!codes_of(codes_object, &codes, rows)) return NULL;
    if (offsets_of(offsets_object, &offsets, codes.obj ? -1 : rows + 1)) {
        if (view_of(text_object, &text, "text", 1, -1, 0)) {
            if (bitmap_of(valid_object, &valid, "valid", bit_offset, rows, 1)) {
                if (view_of(order_object, &order, "order", 8, -1, 1)) {
                    Chunk chunk = {.rows = rows, .codes = codes.buf, .text = text.buf, .text_size = text.len,
                                   .valid = valid.buf, .bit_offset = bit_offset, .order = order.buf};
                    int size = (int)offsets.itemsize;
                    chunk.offsets = (Offsets){offsets.buf, size, offsets.len / size};
                    chunk.code_size = codes.obj ? (int)codes.itemsize : 0;
                    result = read_unlocked(self, &chunk, bounds, cells, order.obj ? order.len / 8 : rows);
                    if (order.obj) PyBuffer_Release(&order);
                }
                if (valid.obj) PyBuffer_Release(&valid);
            }
            PyBuffer_Release(&text);
        }
        PyBuffer_Release(&offsets);
    }
    if (codes.obj) PyBuffer_Release(&codes);
    return result;
}

static PyObject *optional_double(int present, double value)
{
    return present ? PyFloat_FromDouble(value) : Py_NewRef(Py_None);
}

static PyObject *optional_bytes(const Image *image)
{
    return image->bytes ? PyBytes_FromStringAndSize((char *)image->bytes, image->size) : Py_NewRef(Py_None);
}

static PyObject *report(const Cells *self, const Sight *sight, int64_t number)
{
    const Cell *seen = &sight->seen;
    int counted = !seen->registers && has_hashes(self->kind); /* few distinct values are counted exactly */
    PyObject *ranked = PyTuple_New(QUANTILES);
    for (int i = 0; ranked && i < QUANTILES; i++) {
        PyObject *quantile = optional_double(sight->sketched, sight->quantiles[i]);
        if (!quantile) Py_CLEAR(ranked);
        else PyTuple_SET_ITEM(ranked, i, quantile);
    }
    long long moment_count = self->kind == TIMES ? 0 : seen->number_count;
    return Py_BuildValue("L(LLLLLLLddNNNNN)NN", (long long)number, (long long)seen->rows, (long long)seen->nulls,
                         (long long)seen->nans, (long long)seen->above, (long long)seen->below,
                         (long long)seen->trues, moment_count, seen->mean, seen->second,
                         optional_double(sight->sketched, seen->least), optional_double(sight->sketched, seen->most),
                         optional_bytes(&sight->kll), optional_bytes(&sight->hll), optional_bytes(&sight->items),
                         optional_double(counted, (double)seen->coupon_count), ranked);
}

PyDoc_STRVAR(finish_doc, "finish(): see fallback.Cells.finish");

/* The lock is held only to make Python's objects, for some cells at a time, so that columns finish side by side. */
static PyObject *Cells_finish(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    enum { AT_ONCE = 16 };
    Cells *self = (Cells *)object;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "in use by another thread, or unusable after an error");
        return NULL;
    }
    PyObject *reports = PyList_New(0);
    self->busy = 1;
    for (int64_t next = 0; reports && next < self->cell_count;) {
        Sight sights[AT_ONCE];
        int64_t numbers[AT_ONCE], looked = 0;
        int trouble = FINE;
        Py_BEGIN_ALLOW_THREADS
        for (; !trouble && looked < AT_ONCE && next < self->cell_count; next++) {
            if (!self->cells[next]) continue;
            numbers[looked] = next;
            trouble = look_at(self, self->cells[next], &sights[looked++]);
        }
        Py_END_ALLOW_THREADS
        if (trouble) {
            raise(trouble);
            Py_CLEAR(reports);
        }
        for (int64_t i = 0; i < looked; i++) {
            PyObject *one = reports ? report(self, &sights[i], numbers[i]) : NULL;
            if (reports && (!one || PyList_Append(reports, one) < 0)) Py_CLEAR(reports);
            Py_XDECREF(one);
            forget(&sights[i]);
        }
    }
    self->busy = 0;
    return reports;
}

static PyObject *Cells_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"kind", "kll_k", "lg_k", "room", "block", NULL};
    const char *kind_name;
    int kll_k, lg_k, room, block;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s$iiii", names, &kind_name, &kll_k, &lg_k, &room, &block))
        return NULL;
    int kind = 0, kinds = (int)(sizeof kind_names / sizeof *kind_names);
    while (kind < kinds && strcmp(kind_name, kind_names[kind])) kind++;
    if (kind == kinds || kll_k < MIN_WIDTH || kll_k > UINT16_MAX || lg_k < 4 || lg_k > 21 || room < 0
        || room > 1 << 24 || block < 4 || block % 4 || block > 1 << 24) {
        PyErr_SetString(PyExc_ValueError, "an unknown kind, or a setting out of range");
        return NULL;
    }
    Cells *self = (Cells *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->kind = (enum kind)kind;
    self->kll_k = kll_k;
    self->lg_k = lg_k;
    self->room = room;
    self->stride = room / 3 > 1 ? room / 3 : 1;
    self->block = block;
    /* As in Apache: a list of 8 below lg_k 8, else a set that is three quarters full at most. */
    self->max_coupons = lg_k < 8 ? 7 : (int64_t)3 << (lg_k - 5);
    self->arena_limit = ARENA_AT_LEAST;
    self->sampled_from = self->kll_k * self->kll_k / 2;
    return (PyObject *)self;
}

static void Cells_dealloc(PyObject *object)
{
    Cells *self = (Cells *)object;
    for (int64_t number = 0; number < self->cell_count; number++) free_cell(self->cells[number]);
    free(self->cells);
    free(self->arena);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef Cells_methods[] = {{"add", Cells_add, METH_VARARGS, add_doc},
                                      {"add_texts", Cells_add_texts, METH_VARARGS, add_texts_doc},
                                      {"finish", Cells_finish, METH_NOARGS, finish_doc},
                                      {NULL, NULL, 0, NULL}};

static PyTypeObject CellsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "monitoring_pipeline.profiling._kernels.Cells",
    .tp_doc = "One column in every segment; see fallback.Cells.",
    .tp_basicsize = sizeof(Cells),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Cells_new,
    .tp_dealloc = Cells_dealloc,
    .tp_methods = Cells_methods,
};

#include "compiled/functions.h" /* of Python, on many sketches at once */

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "The hot loops of profiling, compiled. `fallback` is the same in numpy.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    LEARN_PROCESSOR();
    learn_crc();
    if (PyType_Ready(&CellsType) < 0) return NULL;
    PyObject *created = PyModule_Create(&module);
    if (created && (PyModule_AddObjectRef(created, "Cells", (PyObject *)&CellsType) < 0
                    || PyModule_AddIntMacro(created, REVISION) < 0))
        Py_CLEAR(created);
    return created;
}
