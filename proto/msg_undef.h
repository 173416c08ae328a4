/* Takes the field macros of messages.def away again. No include guard: it is meant to be read
 * after each use of the list. */
#undef STRUCT
#undef END
#undef STR
#undef NAME
#undef INT
#undef BOOL
#undef ENUM
#undef BYTES
#undef LIST
#undef STRS
#undef OBJ
