from tests.catalog.api.conftest import fast_passwords as fast_passwords
