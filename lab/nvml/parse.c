/*
 * One settings file, line by line. A line that is not understood is ignored; a key whose new value is refused keeps the
 * value that it had before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

struct number_key {
    const char *name;
    double low, high, built_in;
};
struct text_key {
    const char *name;
    const char *built_in;
};

#define AS_NUMBER(key, name, low, high, built_in) {name, low, high, built_in},
#define AS_TEXT(key, name, built_in) {name, built_in},
static const struct number_key gpu_numbers[] = {GPU_NUMBERS(AS_NUMBER)};
static const struct text_key gpu_texts[] = {GPU_TEXTS(AS_TEXT)};
static const struct number_key link_numbers[] = {LINK_NUMBERS(AS_NUMBER)};
static const struct number_key call_numbers[] = {CALL_NUMBERS(AS_NUMBER)};
static const struct number_key driver_numbers[] = {DRIVER_NUMBERS(AS_NUMBER)};
static const struct text_key driver_texts[] = {DRIVER_TEXTS(AS_TEXT)};

static int find_number(const struct number_key *keys, int count, const char *name)
{
    for (int key = 0; key < count; key++)
        if (strcmp(name, keys[key].name) == 0)
            return key;
    return -1;
}

static int find_text(const struct text_key *keys, int count, const char *name)
{
    for (int key = 0; key < count; key++)
        if (strcmp(name, keys[key].name) == 0)
            return key;
    return -1;
}

void settings_built_in(struct settings *settings)
{
    memset(settings, 0, sizeof *settings);
    for (int index = 0; index < MAX_GPUS; index++) {
        for (int key = 0; key < GPU_NUMBER_COUNT; key++)
            settings->gpu_number[index][key] = gpu_numbers[key].built_in;
        for (int key = 0; key < GPU_TEXT_COUNT; key++)
            snprintf(settings->gpu_text[index][key], TEXT_SIZE, "%s", gpu_texts[key].built_in);
        for (int link = 0; link < MAX_LINKS; link++)
            for (int key = 0; key < LINK_NUMBER_COUNT; key++)
                settings->links[index].number[link][key] = link_numbers[key].built_in;
    }
    for (int key = 0; key < DRIVER_NUMBER_COUNT; key++)
        settings->driver_number[key] = driver_numbers[key].built_in;
    for (int key = 0; key < DRIVER_TEXT_COUNT; key++)
        snprintf(settings->driver_text[key], TEXT_SIZE, "%s", driver_texts[key].built_in);
}

static bool parse_number(const struct number_key *key, const char *text, double *number)
{
    char *end;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !(parsed >= key->low && parsed <= key->high))
        return false;
    *number = parsed;
    return true;
}

static bool usable_text(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= TEXT_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

static void take_text(char slot[TEXT_SIZE], const char *value, const char *otherwise)
{
    const char *text = usable_text(value) ? value : otherwise;
    memcpy(slot, text, strlen(text) + 1);
}

/* Read `N.REST` where N is below `most`, or `all.REST`; false for anything else. */
static bool parse_place(const char *text, unsigned int most, unsigned int *first, unsigned int *last, const char **rest)
{
    if (strncmp(text, "all.", 4) == 0) {
        *first = 0, *last = most - 1, *rest = text + 4;
        return true;
    }
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end != '.' || number >= most)
        return false;
    *first = *last = (unsigned int)number;
    *rest = end + 1;
    return true;
}

static void set_link(struct settings *next, const struct settings *before, unsigned int index, const char *name,
                     const char *value)
{
    unsigned int first, last;
    if (!parse_place(name, MAX_LINKS, &first, &last, &name))
        return;
    int key = find_number(link_numbers, LINK_NUMBER_COUNT, name);
    for (unsigned int link = first; key >= 0 && link <= last; link++)
        if (!parse_number(&link_numbers[key], value, &next->links[index].number[link][key]))
            next->links[index].number[link][key] = before->links[index].number[link][key];
}

static void set_gpu(struct settings *next, const struct settings *before, unsigned int index, const char *name,
                    const char *value)
{
    if (strncmp(name, "nvlink.", 7) == 0) {
        set_link(next, before, index, name + 7, value);
        return;
    }
    int key = find_number(gpu_numbers, GPU_NUMBER_COUNT, name);
    if (key >= 0 && !parse_number(&gpu_numbers[key], value, &next->gpu_number[index][key]))
        next->gpu_number[index][key] = before->gpu_number[index][key];
    key = find_text(gpu_texts, GPU_TEXT_COUNT, name);
    if (key >= 0)
        take_text(next->gpu_text[index][key], value, before->gpu_text[index][key]);
}

/* Take `FUNCTION.KEY` as a rule; one beyond the room for them is ignored. */
static void set_call(struct settings *next, int whom, const char *name, const char *value)
{
    const char *dot = strchr(name, '.');
    struct rule *rule = &next->rules[next->rule_count];
    if (next->rule_count == MAX_RULES || !dot || (size_t)(dot - name) >= sizeof rule->function)
        return;
    int key = find_number(call_numbers, CALL_NUMBER_COUNT, dot + 1);
    if (key < 0 || !parse_number(&call_numbers[key], value, &rule->value))
        return;
    rule->whom = whom;
    rule->key = (enum call_number)key;
    memcpy(rule->function, name, (size_t)(dot - name));
    rule->function[dot - name] = '\0';
    next->rule_count++;
}

static void set_driver(struct settings *next, const struct settings *before, const char *name, const char *value)
{
    if (strncmp(name, "call.", 5) == 0) {
        set_call(next, RULE_OF_DRIVER, name + 5, value);
        return;
    }
    int key = find_number(driver_numbers, DRIVER_NUMBER_COUNT, name);
    if (key >= 0 && !parse_number(&driver_numbers[key], value, &next->driver_number[key]))
        next->driver_number[key] = before->driver_number[key];
    key = find_text(driver_texts, DRIVER_TEXT_COUNT, name);
    if (key >= 0)
        take_text(next->driver_text[key], value, before->driver_text[key]);
}

static void apply_line(struct settings *next, const struct settings *before, char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *value = strchr(line, '=');
    if (line[0] == '#' || !value)
        return;
    *value++ = '\0';
    if (strncmp(line, "driver.", 7) == 0) {
        set_driver(next, before, line + 7, value);
        return;
    }
    const char *name = strncmp(line, "gpu.", 4) == 0 ? line + 4 : line;
    unsigned int first, last;
    if ((name == line) != (strncmp(line, "all.", 4) == 0) || !parse_place(name, MAX_GPUS, &first, &last, &name))
        return;
    if (strncmp(name, "call.", 5) == 0)
        set_call(next, first == last ? (int)first : RULE_OF_ALL_GPUS, name + 5, value);
    else
        for (unsigned int index = first; index <= last; index++)
            set_gpu(next, before, index, name, value);
}

/* Returns false where the file is there but cannot be read: then what was known stays. */
bool settings_apply(struct settings *next, const struct settings *before, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) > 0)
        apply_line(next, before, line); /* a byte 0 ends the line that it is in */
    free(line);
    bool read = !ferror(file);
    fclose(file);
    return read;
}
