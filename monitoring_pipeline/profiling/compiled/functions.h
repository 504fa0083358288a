/* The functions of the module, on many sketches at once; `extracting.py` and `binning.py` say what each computes. */

#ifndef MONITORING_FUNCTIONS_H
#define MONITORING_FUNCTIONS_H

PyDoc_STRVAR(find_components_doc,
             "find_components(containers, magic, name, limit): the components `name`, one after the other, their sizes "
             "(-1: there is none) as int64, and the places of containers that Python must open");

/* What may be opened here, in bytes of their own; others count as odd. The tuple keeps them alive. */
static PyObject *find_components(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *given, *containers = NULL, *sizes = NULL, *odd = NULL, *joined = NULL, *result = NULL;
    const uint8_t **data = NULL;
    int64_t *lengths = NULL;
    Search wanted = {0};
    Joined found = {0};
    const char *magic, *name;
    Py_ssize_t magic_size, name_size;
    long long limit;
    if (!PyArg_ParseTuple(arguments, "Oy#y#L", &given, &magic, &magic_size, &name, &name_size, &limit)) return NULL;
    if (magic_size != 4 || limit < 0 || limit > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a magic has four bytes, and a limit is positive and below 2 GiB");
        return NULL;
    }
    if (!(containers = PySequence_Tuple(given))) return NULL;
    int64_t count = PyTuple_GET_SIZE(containers);
    if (!(data = calloc((size_t)count + 1, sizeof *data)) || !(lengths = calloc((size_t)count + 1, sizeof *lengths))) {
        PyErr_NoMemory();
        goto done;
    }
    for (int64_t place = 0; place < count; place++) {
        PyObject *one = PyTuple_GET_ITEM(containers, place);
        if (!PyBytes_Check(one)) continue; /* of no length, it is found to be odd */
        data[place] = (const uint8_t *)PyBytes_AS_STRING(one);
        lengths[place] = PyBytes_GET_SIZE(one);
    }
    if (!(sizes = PyBytes_FromStringAndSize(NULL, count * 8))) goto done;
    wanted.magic = (const uint8_t *)magic;
    wanted.name = (const uint8_t *)name;
    wanted.name_size = name_size;
    wanted.limit = limit;
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(sizes);
    int full = 0;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t place = 0; place < count && !full; place++) {
        int64_t size = search_sealed(&wanted, data[place], lengths[place], &found);
        full = size == OUT_OF_MEMORY;
        memcpy(out + 8 * place, &size, 8);
    }
    Py_END_ALLOW_THREADS
    if (full) {
        PyErr_NoMemory();
        goto done;
    }
    if (!(odd = PyList_New(0))) goto done;
    for (int64_t place = 0; place < count; place++) {
        if (load_i64(out + 8 * place) != ODD) continue;
        PyObject *number = PyLong_FromLongLong(place);
        if (!number || PyList_Append(odd, number) < 0) {
            Py_XDECREF(number);
            goto done;
        }
        Py_DECREF(number);
    }
    if ((joined = PyBytes_FromStringAndSize(found.size ? (char *)found.bytes : "", found.size)))
        result = PyTuple_Pack(3, joined, sizes, odd);
done:
    free(data);
    free(lengths);
    free(found.bytes);
    free(wanted.scratch.bytes);
    Py_XDECREF(joined);
    Py_XDECREF(odd);
    Py_XDECREF(sizes);
    Py_DECREF(containers);
    return result;
}

PyDoc_STRVAR(gather_doc, "gather(data, starts, sizes): parts of some bytes, one after the other");

static PyObject *gather(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *data_object, *starts_object, *sizes_object, *result = NULL;
    Py_buffer data, starts, sizes;
    if (!PyArg_ParseTuple(arguments, "OOO", &data_object, &starts_object, &sizes_object)) return NULL;
    if (!view_of(data_object, &data, "data", 1, -1, 0)) return NULL;
    if (view_of(starts_object, &starts, "starts", 8, -1, 0)) {
        if (view_of(sizes_object, &sizes, "sizes", 8, starts.len / 8, 0)) {
            int64_t count = starts.len / 8, total = 0;
            int fits = 1;
            for (int64_t part = 0; part < count && fits; part++) {
                int64_t start = load_i64((uint8_t *)starts.buf + 8 * part), size = load_i64((uint8_t *)sizes.buf + 8 * part);
                fits = start >= 0 && size >= 0 && start <= data.len && size <= data.len - start
                       && total <= INT64_MAX / 2 - size;
                total += fits ? size : 0;
            }
            if (!fits) PyErr_SetString(PyExc_ValueError, "a part that is not within the data");
            else if ((result = PyBytes_FromStringAndSize(NULL, total))) {
                uint8_t *to = (uint8_t *)PyBytes_AS_STRING(result);
                Py_BEGIN_ALLOW_THREADS
                for (int64_t part = 0; part < count; part++) {
                    int64_t size = load_i64((uint8_t *)sizes.buf + 8 * part);
                    memcpy(to, (uint8_t *)data.buf + load_i64((uint8_t *)starts.buf + 8 * part), (size_t)size);
                    to += size;
                }
                Py_END_ALLOW_THREADS
            }
            PyBuffer_Release(&sizes);
        }
        PyBuffer_Release(&starts);
    }
    PyBuffer_Release(&data);
    return result;
}

PyDoc_STRVAR(text_places_doc,
             "text_places(data, at, ends, counts): where the texts of every image start and stop, as int64; None when "
             "one is not within its image");

static PyObject *text_places(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[4], *starts = NULL, *stops = NULL, *result = NULL;
    Py_buffer views[4] = {{0}};
    int held = 0;
    if (!PyArg_ParseTuple(arguments, "OOOO", &objects[0], &objects[1], &objects[2], &objects[3])) return NULL;
    for (; held < 4; held++)
        if (!view_of(objects[held], &views[held], "an argument", held ? 8 : 1, held > 1 ? views[1].len / 8 : -1, 0))
            goto done;
    int64_t images = views[1].len / 8, room = 0;
    for (int64_t image = 0; image < images; image++) {
        int64_t count = load_i64((uint8_t *)views[3].buf + 8 * image);
        if (count < 0 || count > views[0].len / 4) { /* every text has four bytes of length */
            result = Py_NewRef(Py_None);
            goto done;
        }
        room += count;
    }
    if (room > INT64_MAX / 16 || !(starts = PyBytes_FromStringAndSize(NULL, room * 8))
        || !(stops = PyBytes_FromStringAndSize(NULL, room * 8))) {
        if (!PyErr_Occurred()) PyErr_NoMemory();
        goto done;
    }
    int fits;
    Py_BEGIN_ALLOW_THREADS
    fits = walk_texts(views[0].buf, views[0].len, views[1].buf, views[2].buf, views[3].buf, images, room,
                      (int64_t *)PyBytes_AS_STRING(starts), (int64_t *)PyBytes_AS_STRING(stops));
    Py_END_ALLOW_THREADS
    result = fits ? PyTuple_Pack(2, starts, stops) : Py_NewRef(Py_None);
done:
    while (held--) PyBuffer_Release(&views[held]);
    Py_XDECREF(starts);
    Py_XDECREF(stops);
    return result;
}

PyDoc_STRVAR(masses_doc,
             "masses(values, weights, sizes, rows, low, width, regular, n_rows, bins): the weights of every row's values "
             "by bin, n_rows * (bins + 1) float64");

static PyObject *masses(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    enum { VALUES, WEIGHTS, SIZES, ROWS, LOW, WIDTH, REGULAR, GIVEN };
    PyObject *objects[GIVEN], *result = NULL;
    Py_buffer views[GIVEN] = {{0}};
    long long n_rows;
    int held = 0, bins;
    if (!PyArg_ParseTuple(arguments, "OOOOOOOLi", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4],
                          &objects[5], &objects[6], &n_rows, &bins))
        return NULL;
    for (; held < GIVEN; held++) {
        int64_t count = held == WEIGHTS ? views[VALUES].len / 8 : held > SIZES ? views[SIZES].len / 8 : -1;
        if (!view_of(objects[held], &views[held], "an argument", held == REGULAR ? 1 : 8, count, 0)) goto done;
    }
    int64_t sketches = views[SIZES].len / 8, left = views[VALUES].len / 8;
    int fits = n_rows >= 0 && bins > 0 && bins <= 1 << 16 && n_rows < INT64_MAX / 16 / (bins + 1);
    for (int64_t sketch = 0; sketch < sketches && fits; sketch++) {
        int64_t size = load_i64((uint8_t *)views[SIZES].buf + 8 * sketch);
        int64_t row = load_i64((uint8_t *)views[ROWS].buf + 8 * sketch);
        fits = size >= 0 && size <= left && row >= 0 && row < n_rows;
        left -= size;
    }
    if (!fits || left) {
        PyErr_SetString(PyExc_ValueError, "sizes that are not those of the values, or a row that does not exist");
        goto done;
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, n_rows * (bins + 1) * 8))) goto done;
    memset(PyBytes_AS_STRING(result), 0, (size_t)PyBytes_GET_SIZE(result));
    Py_BEGIN_ALLOW_THREADS
    add_masses(views[VALUES].buf, views[WEIGHTS].buf, views[SIZES].buf, views[ROWS].buf, views[LOW].buf,
               views[WIDTH].buf, views[REGULAR].buf, sketches, bins, (double *)PyBytes_AS_STRING(result));
    Py_END_ALLOW_THREADS
done:
    while (held--) PyBuffer_Release(&views[held]);
    return result;
}

static PyMethodDef functions[] = {{"find_components", find_components, METH_VARARGS, find_components_doc},
                                  {"gather", gather, METH_VARARGS, gather_doc},
                                  {"text_places", text_places, METH_VARARGS, text_places_doc},
                                  {"masses", masses, METH_VARARGS, masses_doc},
                                  {NULL, NULL, 0, NULL}};

#endif
