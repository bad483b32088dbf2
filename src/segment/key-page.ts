/**
 * KeyPage: 512 consecutive keys of a segment, in 16 leaf blocks of 32, front-coded and symbol-coded.
 *
 * Every key, the first of a block too, is stored as the number of bytes it shares with the key before
 * it, and the codes of the rest. What a first key shares is known from elsewhere: its block has a
 * separator, the shortest prefix of the first key that sorts after the block before, which is one
 * byte longer than what the two keys share. The page's directory holds the separators, so that a
 * search reads a page's directory and one block, and so that any block can be decoded without the one
 * before it. The very first block of a segment has the empty separator.
 *
 *        0       4              8                 12
 *        +-------+--------------+-----------------+---------+------------+-----------+-- ... --+
 *        | xxh32 | blocksOffset | separatorLength | records | separators | separator | blocks  |
 *        +-------+--------------+-----------------+---------+------------+-----------+-- ... --+
 * xxh32            u32 LE  of every byte of the page after it
 * blocksOffset     u32 LE  from the start of the page to the first leaf block
 * separatorLength  u32 LE  bytes of the separator of block 0, at most MAX_KEY_BYTES
 * records          for each block: u8 bytes that its separator shares with that of the block before,
 *                  u8 the byte that follows these, u8 bytes of its separator's codes, u16 LE bytes of
 *                  the block. The first three are 0 for block 0. The greatest number of bytes (255,
 *                  255, 65,535) is an escape. (The byte, though the codes have it too, decides most
 *                  comparisons, without another cache line.)
 * separators       for each block: varint shared, varint bytes of codes, varint bytes of the block,
 *                  each only where its record has an escape; then the codes (symbols/codes.ts) of the
 *                  bytes of its separator that are not shared
 * separator        of block 0, as it is
 *
 * A page has 16 blocks and a block 32 keys, but for the last page and block of a segment; the
 * segment's key count says how many those have. A leaf block:
 *
 *        +--------+---------------+---- ... ----+
 *        | base   | header × keys | entries     |
 *        +--------+---------------+---- ... ----+
 * base    varint  subtracted from the numbers of shared bytes: whatever makes the fewest escapes
 * header  u8      (shared - base) << 4 | bytes of codes; in either nibble 15 is an escape
 * entry           varint shared, where the upper nibble is an escape
 *                 varint bytes of codes - 15, where the lower nibble is an escape
 *                 the codes of the bytes that are not shared
 */

/** Keys of a leaf block. Half as many would make lookups somewhat faster and the index 5% larger. */
export const BLOCK_KEYS = 32;
export const PAGE_BLOCKS = 16;
export const PAGE_KEYS: number = BLOCK_KEYS * PAGE_BLOCKS;

/** Bytes of the checksum that a page begins with, and where the rest of its head is. */
export const PAGE_SUM_BYTES = 4;
export const BLOCKS_OFFSET_OFFSET: number = PAGE_SUM_BYTES;
export const SEPARATOR_LENGTH_OFFSET: number = BLOCKS_OFFSET_OFFSET + 4;
export const RECORDS_OFFSET: number = SEPARATOR_LENGTH_OFFSET + 4;
/** A block's record in the directory: where its fields are, and the values that are escapes. */
export const RECORD_SHARED_OFFSET = 0;
export const RECORD_BYTE_OFFSET = 1;
export const RECORD_CODES_OFFSET = 2;
export const RECORD_BLOCK_OFFSET = 3;
export const RECORD_BYTES = 5;
export const RECORD_ESCAPE_U8 = 0xff;
export const RECORD_ESCAPE_U16 = 0xffff;
/** A nibble of an entry's header that says: the rest is a varint before the codes. */
export const HEADER_ESCAPE = 15;
